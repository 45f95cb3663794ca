"""Nonsense over both transports: every client gets an answer of its own, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed

from streamer.v1 import speech_pb2 as pb
from tests.e2e.attacked import REFUSALS, WEBSOCKET_CODES, Server, play_batches
from tests.e2e.nonsense import Case, grpc_cases, websocket_cases
from tests.e2e.serving import Served

AT_ONCE = 64
# Batches of as many cases at once: a sample, and the full count for each transport.
SAMPLE = 4
FULL = -(-50_000 // AT_ONCE)
# What the client's own library makes of a refusal that comes while it is writing; the server's part is in its metrics.
BROKEN_OFF = (grpc.StatusCode.INTERNAL, "Internal error from Core")
GRPC_CODES = {grpc.StatusCode[code.grpc] for code in REFUSALS} | {grpc.StatusCode.OK}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path, AT_ONCE)
    yield running
    running.close()


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


@pytest.mark.parametrize(
    ("cases", "one"), [(websocket_cases(), over_websocket), (grpc_cases(), over_grpc)], ids=["websocket", "grpc"]
)
def test_nonsense_harms_nobody(server: Server, cases: Any, one: Any) -> None:
    """No crash, no internal error, no slot left; a stream in between says what it says alone."""
    play_batches(server, cases, one, SAMPLE, seeded=True)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("cases", "one"), [(websocket_cases(), over_websocket), (grpc_cases(), over_grpc)], ids=["websocket", "grpc"]
)
def test_much_nonsense_harms_nobody(server: Server, cases: Any, one: Any) -> None:
    """The same, 100,000 times over both transports."""
    play_batches(server, cases, one, FULL, seeded=False)
