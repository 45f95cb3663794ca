"""Keys, limits and certificates with the real client and a real host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog
import trustme

from streamer.client import Tls, connect
from streamer.config import AccessSection, TlsSection
from streamer.errors import QuotaExceeded, StreamerError, Unauthenticated
from tests.e2e.serving import serving
from tests.e2e.test_streams import LIVE, audio, expected_text, rest_of, send_all, text_of
from tests.gateway.keyring import ADA, BOB, OLD, access_settings
from tests.gateway.serving import with_loop

TRANSPORTS = ["grpc", "websocket"]
WRONG = {
    None: "expected an API key, got none",
    ADA + "x": "unknown API key",
    OLD: "API key has expired",
    "t1.YWRh.YWRh": "ticket is not valid",
}


async def refusal(url: str, key: str | None) -> StreamerError:
    with pytest.raises(StreamerError) as caught:
        async with connect(url, LIVE, api_key=key):
            pass
    return caught.value


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_only_keys_get_streams(tmp_path: Path, transport: str) -> None:
    """Every other credential is refused by name, takes no slot, and does not disturb who has a key."""
    pcm = audio(1.0)
    async with serving(tmp_path, transport, access=access_settings()) as served:
        url = getattr(served.addresses, transport)
        async with connect(url, LIVE, api_key=ADA) as stream:
            await send_all(stream, pcm[:8000])
            told = {key: await refusal(url, key) for key in WRONG}
            await send_all(stream, pcm[8000:])
            await stream.end()
            assert text_of(await rest_of(stream)) == expected_text(pcm)
        await served.host.until_empty()
        assert served.host.workers[0].free_slots("counter-asr@1.0.0") == 16
    assert {key: (type(error), str(error)) for key, error in told.items()} == {
        key: (Unauthenticated, message) for key, message in WRONG.items()
    }


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_the_limit_of_one_key_does_not_touch_another(tmp_path: Path, transport: str) -> None:
    """While one key is refused again and again for its limit, another streams, and its own first stream goes on."""
    pcm = audio(1.0)
    async with serving(tmp_path, transport, access=access_settings()) as served:
        url = getattr(served.addresses, transport)
        async with connect(url, LIVE, api_key=BOB) as limited, connect(url, LIVE, api_key=ADA) as other:
            for piece in (pcm[:8000], pcm[8000:]):
                for _ in range(5):
                    error = await refusal(url, BOB)
                    assert isinstance(error, QuotaExceeded)
                    assert (str(error), error.retry_after_s) == (
                        "expected at most 1 open streams at a time, got one more",
                        1.0,
                    )
                for stream in (limited, other):
                    await send_all(stream, piece)
            for stream in (limited, other):
                await stream.end()
                assert text_of(await rest_of(stream)) == expected_text(pcm)
        await served.host.until_empty()
        async with connect(url, LIVE, api_key=BOB):
            pass


@with_loop
async def test_the_limit_of_an_address_holds_over_all_transports(tmp_path: Path) -> None:
    """Without keys one address has so many streams, whichever way it comes; when one ends there is room again."""
    async with serving(tmp_path, "grpc", access=AccessSection(max_streams_per_address=2)) as served:
        urls = [getattr(served.addresses, transport) for transport in TRANSPORTS]
        async with connect(urls[0], LIVE):
            async with connect(urls[1], LIVE):
                for url in urls:
                    error = await refusal(url, None)
                    assert (type(error), str(error)) == (
                        QuotaExceeded,
                        "expected at most 2 open streams at a time, got one more",
                    )
            while served.host.open_streams == 2:  # noqa: ASYNC110 - nothing tells when the server has noticed
                await asyncio.sleep(0)
            async with connect(urls[1], LIVE):
                pass


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_the_client_over_mutual_tls(tmp_path: Path, transport: str) -> None:
    """With a certificate of the right authority the client streams; without one there is no connection."""
    authority, pcm = trustme.CA(), audio(0.5)
    files = {name: tmp_path / name for name in ("ca", "server", "server.key", "client", "client.key")}
    authority.cert_pem.write_to_path(files["ca"])
    for name in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(files[name])
        issued.private_key_pem.write_to_path(files[f"{name}.key"])
    tls = TlsSection(cert=files["server"], key=files["server.key"], client_ca=files["ca"])
    async with serving(tmp_path / "bundle", transport, tls=tls) as served:
        url = getattr(served.addresses, transport)
        shown = Tls(files["ca"], files["client"], files["client.key"])
        async with connect(url, LIVE, tls=shown) as stream:
            await send_all(stream, pcm)
            await stream.end()
            assert text_of(await rest_of(stream)) == expected_text(pcm)
        with pytest.raises(OSError, match="."):
            async with connect(url, LIVE, tls=Tls(files["ca"])):
                pass


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_logs_hold_neither_keys_nor_words(
    tmp_path: Path, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a stream the log tells its id, the name of its key and its outcome; of a refusal the reason."""
    pcm = audio(1.0)
    caplog.set_level("DEBUG")
    with structlog.testing.capture_logs() as events:
        async with serving(tmp_path, transport, access=access_settings()) as served:
            url = getattr(served.addresses, transport)
            async with connect(url, LIVE, api_key=ADA) as stream:
                await send_all(stream, pcm)
                await stream.end()
                text = text_of(await rest_of(stream))
            await refusal(url, OLD)
            await served.host.until_empty()
    # The client runs in this process too; what it logs on purpose of debugging is its user's own.
    records = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.client")]
    log = repr((events, records))
    assert "'key': 'ada'" in log
    assert "API key has expired" in log
    assert len(text) > 5
    for secret in (ADA, OLD, text, text[:12], text[-12:]):
        assert secret not in log
