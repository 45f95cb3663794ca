"""Live streams of Deepgram's clients over a fake host: what is said, what is refused, and that nothing stays behind."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from streamer.errors import (
    Draining,
    InvalidRequest,
    ModelFault,
    Overloaded,
    StreamerError,
    StreamTimeout,
    UnknownBundle,
)
from streamer.session.messages import Audio, Config, End, Finalize, KeepAlive, Result
from tests.gateway.deepgram.asking import LINEAR, PATH, ListeningHost
from tests.gateway.fake_host import FakeHost
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.serving import gateway_of, serving, until_closed, websocket, with_loop

KEEP_ALIVE, FINALIZE, CLOSE = (json.dumps({"type": kind}) for kind in ("KeepAlive", "Finalize", "CloseStream"))
# Enough to see that it is not the header of a wav file.
FIRST = b"123456789012"


@asynccontextmanager
async def talking(
    host: FakeHost, *sent: str | bytes, query: str = LINEAR, options: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[ClientConnection]:
    async with (
        serving(host, **settings) as addresses,
        websocket(addresses, *sent, path=f"{PATH}?{query}", **options or {}) as connection,
    ):
        yield connection


async def events_of(host: FakeHost, *sent: str | bytes, query: str = LINEAR, **settings: Any) -> list[Any]:
    """All that is said until the server closes, which it must do well, having said what came last."""
    async with talking(host, *sent, query=query, **settings) as connection:
        frames, code, _ = await until_closed(connection)
    assert code == 1000
    *events, last = map(json.loads, frames)
    assert last["type"] == "Metadata"
    return events


def texts(events: list[Any]) -> list[str]:
    return [event["channel"]["alternatives"][0]["transcript"] for event in events if event["type"] == "Results"]


async def refusal(host: FakeHost, query: str = LINEAR, **options: Any) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of a refused upgrade."""
    settings = options.pop("settings", {})
    with pytest.raises(InvalidStatus) as caught:
        async with talking(host, query=query, options=options, **settings):
            raise AssertionError("expected a refused upgrade")
    response = caught.value.response
    return response.status_code, dict(response.headers), json.loads(response.body)


@with_loop
async def test_audio_becomes_results() -> None:
    """In order; a sample that is cut in two waits for its other half."""
    host = ListeningHost()
    events = await events_of(host, FIRST, b"123", b"4", KEEP_ALIVE, b"12", CLOSE)
    assert texts(events) == ["12", "2", "2", "2"]
    config = Config("pcm_s16le", 16000, 1, model="echo@1", mode="file", interim_results=False)
    pieces = [Audio(FIRST), Audio(b"12"), Audio(b"34"), KeepAlive(), Audio(b"12")]
    assert host.streams[0].got == [config, *pieces, End()]
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_the_last_event_knows_all_the_audio() -> None:
    """By length and digest, under the identifier that the upgrade told."""
    host = ListeningHost()
    async with talking(host, FIRST, b"3456", CLOSE, adapter_mode="live") as connection:
        assert connection.response is not None
        request_id = connection.response.headers["dg-request-id"]
        frames, _, _ = await until_closed(connection)
    last = json.loads(frames[-1])
    assert (last["request_id"], last["duration"]) == (request_id, 0.0005)
    assert last["sha256"] == hashlib.sha256(FIRST + b"3456").hexdigest()
    assert json.loads(frames[0])["metadata"]["request_id"] == request_id
    assert host.streams[0].got[0].mode == "live"


@with_loop
async def test_finalize_is_answered() -> None:
    """By the last final before the answer, or by an empty one; the stream goes on."""
    host = ListeningHost()
    events = await events_of(host, FIRST, FINALIZE, b"1234", FINALIZE, FINALIZE, CLOSE)
    assert [message for message in host.streams[0].got if isinstance(message, Finalize)] == [Finalize()] * 3
    assert [event["from_finalize"] for event in events].count(True) == 3
    assert [text for text in texts(events) if text] == ["12", "4"]


@pytest.mark.parametrize("end", [CLOSE, b""])
@with_loop
async def test_nothing_need_be_said(end: str | bytes) -> None:
    """A frame without audio ends the stream too, as it did in the first version of the protocol."""
    host = ListeningHost()
    assert await events_of(host, end) == []
    assert [type(message) for message in host.streams[0].got] == [Config, End]


def wav(rate: int = 8000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((400, channels), "int16"), rate, format="WAV")
    return file.getvalue()


@with_loop
async def test_a_header_says_what_the_address_does_not() -> None:
    """The stream begins once it is known."""
    host = ListeningHost()
    data = wav()
    assert texts(await events_of(host, KEEP_ALIVE, data[:20], data[20:], CLOSE, query="")) == ["800"]
    assert (host.streams[0].got[0].encoding, host.streams[0].got[0].sample_rate) == ("pcm_s16le", 8000)


@with_loop
async def test_before_a_header_nothing_is_to_be_finished() -> None:
    """Finalize is answered, and the stream closed, though there is none yet."""
    host = ListeningHost()
    events = await events_of(host, FINALIZE, CLOSE, query="")
    assert [(event["type"], event["from_finalize"]) for event in events] == [("Results", True)]
    assert host.streams[0].got == []
    assert host.streams[0].aborted.is_set()


@pytest.mark.parametrize(
    ("data", "query", "reason"),
    [
        (bytes(100), "", "DATA-0000 expected encoding, or audio with the header of wav, flac or ogg, got b'"),
        (wav(channels=2), "", "DATA-0000 wav header: expected 1 channel, got 2"),
        (wav(8000), LINEAR, "DATA-0000 wav header: expected 16000 Hz as in the config, got 8000 Hz"),
        (b"1", LINEAR, "DATA-0000 audio frame of 1 bytes is not a multiple of 2 bytes per sample"),
        (FIRST + b"1", LINEAR, "DATA-0000 audio ends in the middle of a sample"),
        (b"1", "", "DATA-0000 expected encoding, or audio with the header of wav, flac or ogg, got b'1'"),
    ],
)
@with_loop
async def test_audio_that_is_not_what_it_should_be(data: bytes, query: str, reason: str) -> None:
    """Is told in an event, and in the close frame as far as it has room."""
    host = ListeningHost()
    async with talking(host, data, CLOSE, query=query) as connection:
        frames, code, closed = await until_closed(connection)
    assert code == 1008
    assert closed.startswith(reason[:123])
    last = json.loads(frames[-1])
    assert (last["type"], last["variant"]) == ("Error", "invalid_request")
    assert last["description"].startswith(reason.removeprefix("DATA-0000 "))
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_text_that_is_no_control_is_told() -> None:
    """And nothing is lost of the stream."""
    host = ListeningHost()
    first, second, third, *events = await events_of(
        host, "stop", '{"type": "Finalize", "channel": 3}', '{"type": "Configure", "keyterms": ["a"]}', b"12", CLOSE
    )
    assert (first["type"], first["variant"], first["message"]) == ("Error", "SchemaError", "stop")
    assert second["description"] == "Finalize: expected nothing for 'channel', got 3"
    assert (third["type"], third["code"]) == ("ConfigureFailure", "CONFIGURE_KEYTERMS_NOT_SUPPORTED")
    assert texts(events) == ["2"]
    assert [type(message) for message in host.streams[0].got] == [Config, Audio, End]


@with_loop
async def test_refusals_come_instead_of_the_upgrade(caplog: pytest.LogCaptureFixture) -> None:
    """Before any audio, named, in the shape and the headers that Deepgram's clients look at; no stream is begun."""
    host = ListeningHost()
    message = "diarize: is not supported, no model here does that"
    status, headers, body = await refusal(host, f"{LINEAR}&diarize=true")
    assert (status, headers["dg-error"], headers["dg-request-id"]) == (400, message, body["request_id"])
    assert body == {"err_code": "Bad Request", "err_msg": message, "request_id": body["request_id"]}
    status, _, body = await refusal(host, f"{LINEAR}&model=n%C3%B6va%0A")
    assert (status, body["err_code"]) == (404, "Not Found")
    assert body["err_msg"] == "unknown model 'növa\\n', expected one of echo"
    status, headers, body = await refusal(host, "a%0D%0Adg-error:%20b%FFc=1")
    assert (status, headers["dg-error"]) == (400, body["err_msg"].encode("ascii", "backslashreplace").decode())
    assert body["err_msg"].startswith("'a\\r\\ndg-error: b\ufffdc': is not known, expected one of model, ")
    assert host.streams == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("decoding hotwords: expected a beam"), 400, "Bad Request"),
        (UnknownBundle("no model"), 404, "Not Found"),
        (Overloaded("all slots are taken", 2.0), 503, "Service Unavailable"),
        (ModelFault("broken"), 500, "Internal Server Error"),
        (ValueError("a bug"), 500, "Internal Server Error"),
    ],
)
@with_loop
async def test_what_the_host_refuses_refuses_the_upgrade(error: Exception, status: int, code: str) -> None:
    """With a hint when to try again, if there is one; of a bug nothing is told."""
    host = ListeningHost()
    host.error = error
    found, headers, body = await refusal(host)
    message = str(error) if isinstance(error, StreamerError) else "internal error"
    assert (found, body["err_code"], body["err_msg"]) == (status, code, message)
    assert headers.get("retry-after") == ("2" if isinstance(error, Overloaded) else None)
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_a_server_that_drains_refuses_the_upgrade() -> None:
    """503, as for everybody."""
    host = ListeningHost()
    host.draining = True
    status, _, body = await refusal(host)
    assert (status, body["err_msg"]) == (503, "server is shutting down")


@with_loop
async def test_keys() -> None:
    """In a header, or as the second of two subprotocols, of which the first is chosen; a wrong one is refused."""
    host = ListeningHost()
    settings = {"access": access_settings()}
    shown: list[dict[str, Any]] = [
        {"additional_headers": {"authorization": f"Token {ADA}"}},
        {"additional_headers": {"authorization": f"bearer {ADA}"}},
        {"subprotocols": ["token", ADA]},
        {"subprotocols": ["bearer", ADA]},
    ]
    for options in shown:
        async with talking(host, CLOSE, options=options, **settings) as connection:
            assert connection.subprotocol == options.get("subprotocols", [None])[0]
            assert (await until_closed(connection))[1] == 1000
    assert [caller.name for caller in host.callers] == ["ada"] * 4
    status, headers, body = await refusal(
        host, settings=settings, additional_headers={"authorization": "Token streamer_guess"}
    )
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert (body["err_code"], body["err_msg"]) == ("INVALID_AUTH", "unknown API key")
    status, _, body = await refusal(host, settings=settings)
    assert (status, body["err_msg"]) == (401, "expected an API key, got none")


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (StreamTimeout("no message within 30 s"), 1011, "NET-0001 no message within 30 s"),
        (Draining("server shut down before the stream ended"), 1011, "NET-0000 server shut down before"),
        (ModelFault("model raised"), 1011, "NET-0000 model raised"),
        (ValueError("a bug"), 1011, "NET-0000 internal error"),
        (InvalidRequest("ü" * 200), 1008, "DATA-0000 " + "ü" * 56),
    ],
)
@with_loop
async def test_a_stream_that_fails(error: Exception, code: int, reason: str) -> None:
    """Says so with the codes of Deepgram's, after what was heard; a final that waited is not lost."""
    host = ListeningHost()
    async with talking(host) as connection:
        await connection.send(FINALIZE)
        stream = host.streams[0]
        while not any(isinstance(message, Finalize) for message in stream.got):
            await connection.ping()
            json.loads(await connection.recv())
        await connection.send(FINALIZE)
        stream.say(Result(0, 1, "heard", 5, True, True, 0, 0, 0.5))
        stream.end(error)
        frames, closed, told = await until_closed(connection)
    assert (closed, told[: len(reason)]) == (code, reason)
    assert "heard" in texts(list(map(json.loads, frames)))
    assert stream.aborted.is_set()


@with_loop
async def test_a_client_that_goes_frees_its_slot() -> None:
    """Without a goodbye."""
    host = ListeningHost()
    async with talking(host, FIRST) as connection:
        await connection.recv()
        connection.transport.abort()
        await host.streams[0].aborted.wait()


@with_loop
async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """Its stream ends, whatever is still to be told."""
    host = ListeningHost()
    async with talking(host, options={"max_queue": 1}, session={"unread_limit_ms": 50}) as connection:
        await host.connected.wait()
        for _ in range(400):
            host.streams[0].say(Result(0, 1, "x" * 65536, 0, True, False, 0, 0, 0.5))
        await host.streams[0].aborted.wait()
        connection.transport.abort()


@with_loop
async def test_long_frames_are_cut() -> None:
    """To what a session takes."""
    host = ListeningHost()
    assert texts(await events_of(host, bytes(80_000), CLOSE)) == ["64000", "16000"]


@with_loop
async def test_an_alias_of_nothing_is_an_error_of_the_settings() -> None:
    """It is found when the server starts, not when the first client comes."""
    with pytest.raises(InvalidRequest, match=r"^setting deepgram.aliases.nova-3: expected one of echo, got 'large'$"):
        gateway_of(FakeHost(), deepgram={"aliases": {"nova-3": "large"}})
