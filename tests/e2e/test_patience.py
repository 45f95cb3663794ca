"""Clients that read or write slowly, or just sit there, cost a bounded amount and slow nobody."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_websocket

from streamer.gateway import connections
from tests.e2e.serving import Served, serving
from tests.e2e.test_streams import LIVE, audio, expected_text, text_of, transcribe
from tests.gateway.serving import with_loop, with_loop_for

CONFIG = '{"type":"config","encoding":"pcm_s16le","sample_rate":16000,"channels":1,"mode":"file"}'
IDLE = 100
IDLE_FULL = 1000
READERS = 8
MIB = 1 << 20
UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def seconds_to_serve(served: Served) -> float:
    """How long a stream takes that sends a second of audio at once, and whose text must be right."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    messages = await transcribe(served.connect, LIVE, audio(1.0, 3), 800)
    assert text_of(messages) == expected_text(audio(1.0, 3))
    return loop.time() - began


@contextlib.asynccontextmanager
async def idle_connections(served: Served, count: int) -> AsyncIterator[None]:
    """Hold connections that never send a config."""
    url = f"{served.addresses.websocket}/v1/stream"
    async with contextlib.AsyncExitStack() as idle:
        for _ in range(count):
            await idle.enter_async_context(connect_websocket(url, proxy=None, ping_interval=None))
        yield


@with_loop
async def test_idle_connections_take_no_slot(tmp_path: Path) -> None:
    """They have no worker, no slot and no step; a stream among them says what it says alone."""
    async with serving(tmp_path, "websocket", max_streams=1) as served, idle_connections(served, IDLE):
        assert served.host.open_streams == IDLE
        await seconds_to_serve(served)
        assert served.host.workers[0].used_slots("counter-asr@1.0.0") == 0


@pytest.mark.soak
def test_a_thousand_idle_connections_do_not_slow_a_live_one(tmp_path: Path) -> None:
    """The best time of a stream beside 1,000 idle connections, against the best alone, in one run."""

    async def run() -> None:
        async with serving(tmp_path, "grpc", max_streams=2, session={"idle_timeout_ms": 600_000}) as served:
            alone = min([await seconds_to_serve(served) for _ in range(41)])
            async with idle_connections(served, IDLE_FULL):
                crowded = min([await seconds_to_serve(served) for _ in range(41)])
            print(f"best of 41: alone {1000 * alone:.1f} ms, beside {IDLE_FULL} idle {1000 * crowded:.1f} ms")  # noqa: T201
            assert crowded <= 2 * alone

    asyncio.run(run())


@pytest.mark.soak
@with_loop_for(300)
async def test_clients_that_do_not_read_are_let_go_and_cost_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sends as much as the server takes and reads nothing: all end as slow readers, and memory stays bounded."""
    monkeypatch.setattr(connections, "LINGER_S", 0.05)
    limits = {"unread_limit_ms": 300}
    async with serving(tmp_path, "websocket", max_streams=READERS, session=limits) as served:
        gc.collect()
        tracemalloc.start()
        try:
            await asyncio.gather(*(never_read(served, seed) for seed in range(READERS)))
            await served.host.until_empty()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < READERS * 4 * MIB
        assert b'streamer_streams_total{outcome="slow_reader"}' in served.host.metrics_text()


async def never_read(served: Served, seed: int) -> None:
    """Speak until the server hangs up, with a receive buffer that holds next to nothing."""
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        plain.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plain, (served.addresses.host, served.addresses.http_port))
        await loop.sock_sendall(plain, UPGRADE)
        assert b" 101 " in await loop.sock_recv(plain, 1024)
        await loop.sock_sendall(plain, text_frame(CONFIG))
        frame = binary_frame(audio(0.5, seed).tobytes())
        with contextlib.suppress(ConnectionError):
            while True:
                await loop.sock_sendall(plain, frame)


@with_loop
async def test_requests_that_never_end_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects and sends half a request is sent away, and does not keep others out."""
    monkeypatch.setattr(connections, "REQUEST_HEAD_S", 0.05)
    async with serving(tmp_path, "websocket") as served:
        address = served.addresses.host, served.addresses.http_port
        slow = [await asyncio.open_connection(*address) for _ in range(50)]
        for _, writer in slow:
            writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: a\r\n")
        await seconds_to_serve(served)
        for reader, writer in slow:
            assert await reader.read() == b""
            writer.close()


def binary_frame(payload: bytes) -> bytes:
    return _frame(0x82, payload)


def text_frame(text: str) -> bytes:
    return _frame(0x81, text.encode())


def _frame(head: int, payload: bytes) -> bytes:
    """A client's frame, masked with zeros (RFC 6455, section 5.2)."""
    return bytes([head, 0x80 | 127]) + len(payload).to_bytes(8) + bytes(4) + payload
