"""Certificates, in real handshakes over both transports."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
import trustme
from websockets.exceptions import InvalidMessage

from streamer.config import TlsSection
from streamer.errors import InvalidRequest
from streamer.gateway import tls as tls_module
from streamer.gateway.server import Addresses
from streamer.gateway.tls import Certificates
from streamer.v1 import speech_pb2 as pb
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import CONFIG_BYTES, CONFIG_TEXT, gateway_of, websocket, with_loop

TRANSPORTS = ["grpc", "websocket"]


class Authority:
    """An authority and the files of certificates that it has signed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def certify(self, name: str = "server", not_after: datetime.datetime | None = None) -> TlsSection:
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        issued = self._ca.issue_cert("127.0.0.1", not_after=not_after)
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return TlsSection(cert=cert, key=key)


def replace(files: TlsSection, by: TlsSection) -> None:
    files.cert.write_bytes(by.cert.read_bytes())
    files.key.write_bytes(by.key.read_bytes())


async def is_served(addresses: Addresses, transport: str, ca: Path, shown: TlsSection | None = None) -> bool:
    """Whether a client that trusts `ca`, and shows a certificate, gets a stream."""
    try:
        async with stream_over(addresses, transport, ca, shown) as ready:
            return ready
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    except (ssl.SSLError, ConnectionError, InvalidMessage):
        # In TLS 1.3 a client has shaken hands before the server turns its certificate down.
        return False


@asynccontextmanager
async def stream_over(
    addresses: Addresses, transport: str, ca: Path, shown: TlsSection | None = None
) -> AsyncIterator[bool]:
    """An open stream, that is served when it is yielded."""
    if transport == "websocket":
        context = ssl.create_default_context(cafile=ca)
        if shown is not None:
            context.load_cert_chain(shown.cert, shown.key)
        async with websocket(addresses, CONFIG_TEXT, ssl=context) as connection:
            yield '"type":"ready"' in await connection.recv(decode=True)
        return
    async with grpc.aio.secure_channel(f"127.0.0.1:{addresses.grpc_port}", credentials(ca, shown)) as channel:
        call = channel.stream_stream(
            "/streamer.v1.Speech/StreamingRecognize", response_deserializer=pb.ServerMessage.FromString
        )()
        await call.write(CONFIG_BYTES)
        yield (await call.read()).HasField("ready")


def credentials(ca: Path, shown: TlsSection | None) -> grpc.ChannelCredentials:
    pair = (shown.key.read_bytes(), shown.cert.read_bytes()) if shown else (None, None)
    return grpc.ssl_channel_credentials(ca.read_bytes(), *pair)


@asynccontextmanager
async def serving_with(tls: TlsSection) -> AsyncIterator[tuple[Any, Addresses]]:
    gateway = gateway_of(FakeHost(), tls=tls)
    try:
        yield gateway, await gateway.start()
    finally:
        await gateway.stop()


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_a_client_that_trusts_the_authority_is_served(tmp_path: Path, transport: str) -> None:
    """One that trusts another authority turns away, and the next good one is served again."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    async with serving_with(ours.certify()) as (_, addresses):
        served = [await is_served(addresses, transport, each.file) for each in (ours, theirs, ours)]
    assert served == [True, False, True]
    assert (addresses.grpc[:8], addresses.websocket[:6]) == ("grpcs://", "wss://")


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_mutual_tls(tmp_path: Path, transport: str) -> None:
    """With client authorities set, only who shows a certificate of theirs is served."""
    ours, clients, theirs = (Authority(tmp_path / name) for name in ("ours", "clients", "theirs"))
    tls = ours.certify().model_copy(update={"client_ca": clients.file})
    shown = (clients.certify("client"), None, theirs.certify("client"), ours.certify("client"))
    async with serving_with(tls) as (_, addresses):
        served = [await is_served(addresses, transport, ours.file, each) for each in shown]
    assert served == [True, False, False, False]


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_a_client_without_tls_is_not_served(tmp_path: Path, transport: str) -> None:
    """Nothing is said in the clear."""
    async with serving_with(Authority(tmp_path).certify()) as (_, addresses):
        port = addresses.grpc_port if transport == "grpc" else addresses.http_port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b"HTTP" not in answer


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_new_certificates_while_streams_are_open(tmp_path: Path, transport: str) -> None:
    """After a reload new connections see the new certificate, for servers and clients; those that are open go on."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    tls = old.certify("server").model_copy(update={"client_ca": tmp_path / "clients.pem"})
    tls.client_ca.write_bytes(old.file.read_bytes())
    old_client, new_client = old.certify("client"), new.certify("client")
    async with serving_with(tls) as (gateway, addresses):
        async with stream_over(addresses, transport, old.file, old_client) as ready:
            assert ready
            assert not await is_served(addresses, transport, new.file, new_client)
            renewed = new.certify("server")
            for source, target in ((renewed.cert, tls.cert), (renewed.key, tls.key), (new.file, tls.client_ca)):
                target.write_bytes(source.read_bytes())
            await gateway.reload()
            assert await is_served(addresses, transport, new.file, new_client)
            assert not await is_served(addresses, transport, old.file, old_client)
            assert not await is_served(addresses, transport, new.file, old_client)
        assert len(gateway._host.streams) == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_a_bad_certificate_is_not_taken_up(tmp_path: Path, transport: str) -> None:
    """While the files do not fit together, the server goes on with what it had, and says why."""
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    tls = ours.certify()
    async with serving_with(tls) as (gateway, addresses):
        tls.key.write_bytes(other.certify().key.read_bytes())
        with structlog.testing.capture_logs() as events:
            await gateway.reload()
        assert await is_served(addresses, transport, ours.file)
    reasons = [event["reason"] for event in events if event["event"] == "certificates not reloaded"]
    assert reasons == [f"tls key {tls.key} does not belong to tls cert {tls.cert}"]


@with_loop
async def test_new_files_are_found_without_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server looks at its files now and then, and takes up what has changed."""
    monkeypatch.setattr(tls_module, "_LOOK_S", 0.0)
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    tls = old.certify()
    async with serving_with(tls) as (_, addresses):
        assert await is_served(addresses, "websocket", old.file)
        await asyncio.to_thread(replace, tls, new.certify())
        while not await is_served(addresses, "websocket", new.file):
            pass
        assert not await is_served(addresses, "websocket", old.file)


def test_files_that_change_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that is half old and half new is never taken up."""
    authority = Authority(tmp_path)
    tls = authority.certify()
    certificates, real = Certificates(tls), tls_module._context

    def slow(settings: TlsSection) -> ssl.SSLContext:
        context = real(settings)
        replace(tls, authority.certify("newer"))
        return context

    replace(tls, authority.certify("new"))
    with monkeypatch.context() as patched:
        patched.setattr(tls_module, "_context", slow)
        with pytest.raises(InvalidRequest, match=r"^tls files changed while they were read$"):
            certificates.reload()
    assert certificates.reload()
    assert not certificates.reload()


def spoken(port: int, ca: Path, version: ssl.TLSVersion) -> tuple[str | None, str | None]:
    """Version and protocol that a client of exactly this version of TLS agrees on with the server."""
    context = ssl.create_default_context(cafile=ca)
    # At its usual level the client itself would not speak what is old.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
    ):
        return secure.version(), secure.selected_alpn_protocol()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_nothing_older_than_tls_1_2(tmp_path: Path, transport: str) -> None:
    """TLS 1.1, which RFC 8996 retires, is refused; each port says in the handshake what it speaks."""
    ours = Authority(tmp_path)
    async with serving_with(ours.certify()) as (_, addresses):
        port = addresses.grpc_port if transport == "grpc" else addresses.http_port
        protocol = "h2" if transport == "grpc" else "http/1.1"
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            assert await asyncio.to_thread(spoken, port, ours.file, version) == (name, protocol)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(spoken, port, ours.file, ssl.TLSVersion.TLSv1_1)


def damaged(kind: str) -> bytes:
    return f"-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n".encode()


MISTAKES = {
    "no_cert": ("cert", None, "cannot read tls cert {file}: No such file or directory"),
    "no_key": ("key", None, "cannot read tls key {file}: No such file or directory"),
    "no_ca": ("client_ca", None, "cannot read tls client_ca {file}: No such file or directory"),
    "cert_not_pem": ("cert", b"\x30\x82", "tls cert {file}: expected a certificate in PEM, got none"),
    "key_not_pem": ("key", b"", "tls key {file}: expected a private key in PEM, got none"),
    "ca_not_pem": ("client_ca", b"hush", "tls client_ca {file}: expected a certificate in PEM, got none"),
    "cert_damaged": ("cert", damaged("CERTIFICATE"), "cannot use tls cert {file} and key {folder}/server.key: "),
    "key_damaged": ("key", damaged("PRIVATE KEY"), "cannot use tls cert {folder}/server.pem and key {file}: "),
    "ca_damaged": ("client_ca", damaged("CERTIFICATE"), "cannot use tls client_ca {file}: "),
    "key_encrypted": (
        "key",
        damaged("ENCRYPTED PRIVATE KEY"),
        "tls key {file}: expected a key without a passphrase, got an encrypted one",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, mistake: str) -> None:
    """Which file, and what is wrong with it, before anything is served."""
    field, content, message = MISTAKES[mistake]
    file = tmp_path / "mistake"
    if content is not None:
        file.write_bytes(content)
    tls = Authority(tmp_path).certify().model_copy(update={field: file})
    with pytest.raises(InvalidRequest) as caught:
        Certificates(tls)
    assert str(caught.value).startswith(message.format(file=file, folder=tmp_path))


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    """Both files are sound, but not a pair."""
    authority = Authority(tmp_path)
    mixed = TlsSection(cert=authority.certify("one").cert, key=authority.certify("two").key)
    with pytest.raises(InvalidRequest, match=r"^tls key .*two\.key does not belong to tls cert .*one\.pem$"):
        Certificates(mixed)


@pytest.mark.parametrize(
    ("not_after", "trouble"),
    [
        (datetime.datetime(2019, 1, 1, tzinfo=datetime.UTC), "has expired"),
        (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1), "expires in 3.0 days"),
        (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=15), None),
    ],
)
def test_dates_are_warned_of(tmp_path: Path, not_after: datetime.datetime, trouble: str | None) -> None:
    """A certificate that has expired, or will within two weeks, is served with a warning."""
    tls = Authority(tmp_path).certify("server", not_after)
    with structlog.testing.capture_logs() as events:
        Certificates(tls)
    warning = {"event": "certificate", "log_level": "warning", "file": str(tls.cert), "trouble": trouble}
    assert events == ([warning] if trouble else [])
