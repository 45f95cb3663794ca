"""Nonsense over both transports: every client gets an answer of its own, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed

from streamer.errors import WIRE_CODES
from streamer.v1 import speech_pb2 as pb
from tests.e2e.nonsense import Case, grpc_cases, websocket_cases
from tests.e2e.serving import Served, serving
from tests.e2e.test_streams import LIVE, audio, expected_text, text_of, transcribe

AT_ONCE = 64
# Batches of as many cases at once: a sample, and the full count for each transport.
SAMPLE = 4
FULL = -(-50_000 // AT_ONCE)
TIMEOUT_S = 30
REFUSALS = {code for code in WIRE_CODES.values() if code.name != "internal"}
WEBSOCKET_CODES = {code.websocket for code in REFUSALS} | {1000, 1007}
# What the client's own library makes of a refusal that comes while it is writing; the server's part is in its metrics.
BROKEN_OFF = (grpc.StatusCode.INTERNAL, "Internal error from Core")
GRPC_CODES = {grpc.StatusCode[code.grpc] for code in REFUSALS} | {grpc.StatusCode.OK}


class Batch(list[Case]):
    """Cases that are played at once; what is shown of a batch that failed is not megabytes of it."""

    def __repr__(self) -> str:
        return f"<{len(self)} cases>"


class Server:
    """A server on an event loop that runs only while a batch is played."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._served: Served = self._runner.run(self._start(folder))

    async def _start(self, folder: Path) -> Served:
        return await self._stack.enter_async_context(
            serving(folder, "websocket", max_streams=AT_ONCE + 1, session={"max_ahead_ms": 60_000})
        )

    def play(self, cases: Batch, one: Callable[[Served, Case], Awaitable[None]]) -> None:
        """Play all cases at once beside a stream that behaves, and look for what they left."""

        async def batch() -> None:
            async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
                text = group.create_task(transcribe(self._served.connect, LIVE, audio(0.3, 1), 800))
                for case in cases:
                    group.create_task(_shown(one, self._served, case))
            assert text_of(text.result()) == expected_text(audio(0.3, 1))
            async with asyncio.timeout(TIMEOUT_S):
                await self._served.host.until_empty()
            worker = self._served.host.workers[0]
            assert worker.used_slots("counter-asr@1.0.0") == 0
            assert b'outcome="internal"' not in self._served.host.metrics_text()

        self._runner.run(batch())

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.close()


async def _shown(one: Callable[[Served, Case], Awaitable[None]], served: Served, case: Case) -> None:
    try:
        await one(served, case)
    except Exception as error:
        raise AssertionError(f"{case!r:.4000}") from error


async def over_websocket(served: Served, case: Case) -> None:
    """Send everything, then wait for the close frame, whose code must be one of the table."""
    url = f"{served.addresses.websocket}/v1/stream"
    async with connect_websocket(url, proxy=None, close_timeout=1) as connection:
        with contextlib.suppress(ConnectionClosed):
            for frame in case.frames:
                await connection.send(frame)
            # Whatever state the stream is in, this ends it.
            await connection.send('{"type":"cancel"}')
        if case.leaves:
            connection.transport.abort()
            return
        said = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                said.append(json.loads(await connection.recv()))
        assert connection.close_code in WEBSOCKET_CODES, (connection.close_code, connection.close_reason, said[-1:])
        if connection.close_code == 1000:
            assert said[-1]["type"] == "done"


async def over_grpc(served: Served, case: Case) -> None:
    """Send everything and read to the end, whose status must be one of the table."""
    target = f"{served.addresses.host}:{served.addresses.grpc_port}"
    async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call: Any = channel.stream_stream(
            "/streamer.v1.Speech/StreamingRecognize", response_deserializer=pb.ServerMessage.FromString
        )()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for frame in case.frames:
                await call.write(frame)
            if not case.leaves:
                await call.done_writing()
        if case.leaves:
            call.cancel()
            return
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        status = await call.code(), await call.details()
        assert status[0] in GRPC_CODES or status == BROKEN_OFF, status


def _play(server: Server, cases: Any, one: Callable[[Served, Case], Awaitable[None]], batches: int) -> None:
    @settings(
        max_examples=batches,
        derandomize=batches == SAMPLE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(st.lists(cases, min_size=AT_ONCE, max_size=AT_ONCE).map(Batch))
    def run(batch: Batch) -> None:
        server.play(batch, one)

    run()


@pytest.mark.parametrize(
    ("cases", "one"), [(websocket_cases(), over_websocket), (grpc_cases(), over_grpc)], ids=["websocket", "grpc"]
)
def test_nonsense_harms_nobody(server: Server, cases: Any, one: Any) -> None:
    """No crash, no internal error, no slot left; a stream in between says what it says alone."""
    _play(server, cases, one, SAMPLE)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("cases", "one"), [(websocket_cases(), over_websocket), (grpc_cases(), over_grpc)], ids=["websocket", "grpc"]
)
def test_much_nonsense_harms_nobody(server: Server, cases: Any, one: Any) -> None:
    """The same, 100,000 times over both transports."""
    _play(server, cases, one, FULL)
