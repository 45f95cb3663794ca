"""Nonsense on every surface beside our own protocol: each client gets an answer of its own, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import strategies as st
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e import foreign_nonsense as nonsense
from tests.e2e.attacked import REFUSALS, WEBSOCKET_CODES, Server, play_batches
from tests.e2e.foreign_nonsense import Frames, Request
from tests.e2e.serving import Served

AT_ONCE = 24
# The first batch of a seeded run is of the simplest cases.
SAMPLE = 3
FULL = -(-10_000 // AT_ONCE)
# Against hanging only: all that the server waits for is shorter.
PATIENCE_S = 25
STATUSES = {code.http for code in REFUSALS} | {200, 304, 404, 405, 421, 426, 499}
# Deepgram's own words, under codes of its own.
DEEPGRAM_REASONS = ("DATA-0000", "NET-0001")
# What the client's library makes of a call that is refused while it writes, or before a request of its own is whole.
BROKEN_OFF = ("Internal error from Core", "Failed to", "RST_STREAM", "Exception serializing request")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path, AT_ONCE, wyoming_port=0, admin_port=0, models=())
    yield running
    running.close()


async def over_http(served: Served, case: Request) -> None:
    """Send a request to the port of clients; if an answer comes, its status is one of the table, and no 500."""
    await _request(case, served.addresses.host, served.addresses.http_port)


async def over_admin(served: Served, case: Request) -> None:
    """The same on the port of operators."""
    assert served.addresses.admin_port is not None
    await _request(case, served.addresses.host, served.addresses.admin_port)


async def _request(case: Request, host: str, port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            with contextlib.suppress(ConnectionError):
                for piece in case.pieces:
                    writer.write(piece)
                    await writer.drain()
                if case.ends == "hangs up":
                    writer.transport.abort()
                elif case.ends == "stops":
                    writer.write_eof()
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := await _some(reader, bool(answer)):
                    answer += part
        finally:
            writer.transport.abort()
    for status in re.findall(rb"(?m)^HTTP/1.1 (\d+) ", answer):
        assert int(status) in STATUSES | {100, 101}, answer[:500]


async def _some(reader: asyncio.StreamReader, answered: bool) -> bytes:
    """What comes next; a mutated request may keep the connection open behind its answer, or never be whole."""
    try:
        async with asyncio.timeout(0.25 if answered else 0.75):
            return await reader.read(65536)
    except TimeoutError:
        return b""


async def over_websocket(served: Served, case: Frames) -> None:
    """Send everything and hang up; whatever was said is JSON, and a close frame of the server holds a code of ours."""
    async with asyncio.timeout(PATIENCE_S):
        connection = await _connected(served.addresses.websocket + case.path)
        if connection is None:
            return
        listening = asyncio.create_task(_listen(connection))
        with contextlib.suppress(ConnectionClosed):
            for frame in case.frames:
                await connection.send(frame)
        if case.leaves:
            connection.transport.abort()
        else:
            await connection.close()
        for said in await listening:
            assert not _is_internal(json.loads(said)), said
        if not case.leaves:
            closed = connection.close_code, connection.close_reason
            assert closed[0] in WEBSOCKET_CODES or str(closed[1]).startswith(DEEPGRAM_REASONS), closed


async def _connected(url: str) -> Any:
    """A connection; None if it is refused, whose status must be one of the table."""
    try:
        return await connect_websocket(url, proxy=None, close_timeout=5)
    except InvalidStatus as error:
        refused = error.response
    assert refused.status_code in STATUSES, refused
    return None


async def _listen(connection: Any) -> list[str]:
    said = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            said.append(await connection.recv())
    return said


def _is_internal(message: dict[str, Any]) -> bool:
    error = message.get("error")
    codes = [message.get("code"), *(error.values() if isinstance(error, dict) else ())]
    return "internal" in codes or "server_error" in codes


async def over_wyoming(served: Served, case: Frames) -> None:
    """Send everything, stop, and read to the end: only whole events, none of an internal error."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(served.addresses.host, served.addresses.wyoming_port)
        try:
            with contextlib.suppress(ConnectionError):
                for frame in case.frames:
                    assert isinstance(frame, bytes)
                    writer.write(frame)
                    await writer.drain()
                writer.write_eof()
            if case.leaves:
                return
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
        finally:
            writer.transport.abort()
    assert b'"internal"' not in answer, answer[-500:]


async def over_riva(served: Served, case: Frames) -> None:
    """Send everything and read to the end, whose status must be one of the table."""
    target = f"{served.addresses.host}:{served.addresses.grpc_port}"
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with asyncio.timeout(PATIENCE_S), grpc.aio.insecure_channel(target, options=options) as channel:
        path = f"/nvidia.riva.asr.RivaSpeechRecognition/{case.path}"
        if case.path == "StreamingRecognize":
            status = await _streaming(channel.stream_stream(path)(), case)
        else:
            status = await _single(channel.unary_unary(path)(case.frames[0]), case)
    if status is not None:
        codes = {grpc.StatusCode[code.grpc] for code in REFUSALS} | {grpc.StatusCode.OK}
        assert status[0] in codes or status[1].startswith(BROKEN_OFF), status


async def _streaming(call: Any, case: Frames) -> tuple[Any, str] | None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for frame in case.frames:
            await call.write(frame)
        await call.done_writing()
    if case.leaves:
        call.cancel()
        return None
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details()


async def _single(call: Any, case: Frames) -> tuple[Any, str] | None:
    if case.leaves:
        call.cancel()
        return None
    with contextlib.suppress(grpc.aio.AioRpcError):
        await call
    return await call.code(), await call.details()


SURFACES = {
    "openai uploads": (nonsense.uploads(), over_http),
    "small requests": (nonsense.small_requests(), over_http),
    "admin port": (nonsense.small_requests(), over_admin),
    "realtime": (nonsense.realtime(), over_websocket),
    "vosk": (nonsense.vosk(), over_websocket),
    "wyoming": (nonsense.wyoming(), over_wyoming),
    "deepgram streams": (nonsense.deepgram_streams(), over_websocket),
    "deepgram files": (nonsense.deepgram_files(), over_http),
    "riva streams": (nonsense.riva_streams(), over_riva),
    "riva calls": (nonsense.riva_calls(), over_riva),
}
every_surface = pytest.mark.parametrize(("cases", "one"), SURFACES.values(), ids=SURFACES)


@every_surface
def test_nonsense_harms_nobody(server: Server, cases: st.SearchStrategy[Any], one: Any) -> None:
    """No 500, nothing logged as an error, no slot or stream left; a stream in between says what it says alone."""
    play_batches(server, cases, one, SAMPLE, seeded=True)


@pytest.mark.soak
@every_surface
def test_much_nonsense_harms_nobody(server: Server, cases: st.SearchStrategy[Any], one: Any) -> None:
    """The same, 10,000 times on each surface."""
    play_batches(server, cases, one, FULL, seeded=False)
