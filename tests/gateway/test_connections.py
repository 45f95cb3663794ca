"""What one connection may do to a server: heads that nobody can read, floods of frames, requests in two readings."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from streamer.gateway import connections
from streamer.gateway.server import Addresses
from tests.e2e.attacked import alarms
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import CONFIG_TEXT, get, serving, with_loop

UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
POST = b"POST /v1/tickets HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def frame(opcode: int, payload: bytes = b"", final: bool = True) -> bytes:
    """A client's frame, masked with zeros (RFC 6455, section 5.2)."""
    assert len(payload) < 126
    return bytes([final << 7 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


TEXT, BINARY, MORE, PING, PONG = 1, 2, 0, 9, 10


async def answer_to(addresses: Addresses, *sent: bytes) -> bytes:
    """All that comes back until the server closes."""
    reader, writer = await asyncio.open_connection(addresses.host, addresses.http_port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for data in sent:
            writer.write(data)
            await writer.drain()
        while data := await reader.read(65536):
            answer += data
    writer.transport.abort()
    return answer


async def frames_after(addresses: Addresses, *sent: bytes) -> bytes:
    """All frames that come back over a WebSocket until the server closes."""
    reader, writer = await upgraded(addresses)
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(b"".join(sent))
        await writer.drain()
        while data := await reader.read(65536):
            answer += data
    writer.transport.abort()
    return answer


async def upgraded(addresses: Addresses) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(addresses.host, addresses.http_port)
    writer.write(UPGRADE + b"\r\n")
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


UNREADABLE = {
    "many headers": UPGRADE + b"".join(b"X-%d: a\r\n" % i for i in range(200)) + b"\r\n",
    "a long header": UPGRADE + b"X: " + b"a" * 10_000 + b"\r\n\r\n",
    "a long address": UPGRADE.replace(b"/v1/stream", b"/v1/stream?" + b"a" * 9000) + b"\r\n",
    "a body": UPGRADE + b"Content-Length: 5\r\n\r\nhello",
    "another method": UPGRADE.replace(b"GET", b"POST") + b"\r\n",
    "a subprotocol that is not ASCII": UPGRADE + b"Sec-WebSocket-Protocol: token, \xff\r\n\r\n",
    "extensions that are not ASCII": UPGRADE + b"Sec-WebSocket-Extensions: \xff\r\n\r\n",
}


@pytest.mark.parametrize("head", UNREADABLE.values(), ids=UNREADABLE)
@with_loop
async def test_upgrades_that_cannot_be_read_are_refused(head: bytes) -> None:
    """With 400 at once: websockets would wait for ever, or raise where nobody catches it."""
    async with serving(FakeHost()) as addresses:
        with alarms() as heard:
            assert (await answer_to(addresses, head)).startswith(b"HTTP/1.1 400 ")
        assert heard == []


TWO_READINGS = {
    "two lengths": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "different lengths": POST + b"Content-Length: 4\r\nContent-Length: 0\r\n\r\nabcd",
    "two lengths for an answer without a body": POST.replace(b"POST", b"HEAD", 1)
    + b"Content-Length: 4\r\n"
    + CHUNKED
    + b"\r\n0\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "two hosts": POST + b"Host: b\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "a chunk of a negative length": POST + CHUNKED + b"\r\n-1\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", TWO_READINGS.values(), ids=TWO_READINGS)
@with_loop
async def test_requests_in_two_readings_are_refused(request_bytes: bytes) -> None:
    """What a proxy before the server may take for another request is never answered as one."""
    async with serving(FakeHost()) as addresses:
        with alarms() as heard:
            smuggled = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
            answer = await answer_to(addresses, request_bytes + smuggled)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert heard == []


FLOODS = {
    "pings": frame(PING),
    "pings that carry much": frame(PING, b"x" * 125),
    "pongs": frame(PONG),
    "fragments": frame(MORE, b"x", final=False),
    "fragments of nothing": frame(MORE, final=False),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@with_loop
async def test_floods_of_frames_are_cut_off(monkeypatch: pytest.MonkeyPatch, flood: bytes) -> None:
    """With 1008, and the stream is free; a message that never ends is one of them."""
    monkeypatch.setattr(connections, "MOST_FRAMES", 100)
    host = FakeHost()
    async with serving(host) as addresses:
        begin = frame(TEXT, CONFIG_TEXT.encode()) + frame(BINARY, b"ab", final=False)
        answer = await frames_after(addresses, begin, flood * 101)
        assert (1008).to_bytes(2) + b"more than 100 frames without a message" in answer
        await host.streams[0].aborted.wait()


@with_loop
async def test_frames_between_messages_are_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each whole message begins a new count."""
    monkeypatch.setattr(connections, "MOST_FRAMES", 100)
    host = FakeHost()
    async with serving(host) as addresses:
        some = (frame(PING) * 40 + frame(BINARY, b"a", final=False) + frame(MORE, b"b") + frame(PONG) * 40) * 5
        ends = frame(TEXT, b'{"type":"end"}')
        answer = await frames_after(addresses, frame(TEXT, CONFIG_TEXT.encode()) + some + ends)
        assert b'"type":"done"' in answer
        assert answer.count(b'"text":"2"') == 5


@with_loop
async def test_text_that_is_not_utf8_is_cut_off_quietly() -> None:
    """With 1007, and no traceback for each in the log."""
    async with serving(FakeHost()) as addresses:
        with alarms() as heard:
            answer = await frames_after(addresses, frame(TEXT, b"\xff"))
        assert answer.endswith((1007).to_bytes(2))
        assert heard == []


@with_loop
async def test_thousands_of_messages_at_once_let_others_through() -> None:
    """Another client is served while a client's messages are still taken one by one."""
    host = FakeHost()
    async with serving(host) as addresses:
        reader, writer = await upgraded(addresses)
        writer.write(frame(TEXT, CONFIG_TEXT.encode()) + frame(BINARY, b"ab") * 2000)
        await reader.readuntil(b'"type":"ready"')
        assert (await get(addresses, "/healthz")).status_code == 200
        assert len(host.streams[0].got) < 2001
        writer.transport.abort()
