"""Runs a gateway over a fake host for the time of a test, and talks to it without the client's help."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed

from streamer.config import Settings
from streamer.gateway.server import Addresses, Gateway
from streamer.session.messages import Config
from streamer.v1 import speech_pb2 as pb
from streamer.wire import protobuf
from tests.gateway.fake_host import FakeHost

CONFIG = Config("pcm_s16le", 16000, 1)
CONFIG_TEXT = '{"type":"config","encoding":"pcm_s16le","sample_rate":16000,"channels":1}'
CONFIG_BYTES = protobuf.encode_client(CONFIG).SerializeToString()
# Against hanging only: what takes a second may take a minute on a machine that has other things to do.
TIMEOUT_S = 120


def with_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a loop of its own, for two minutes at most."""
    return with_loop_for(TIMEOUT_S)(test)


def with_loop_for(seconds: float) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Run an async test on a loop of its own, for `seconds` at most."""

    def wrap(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            async def limited() -> None:
                async with asyncio.timeout(seconds):
                    await test(*args, **kwargs)

            asyncio.run(limited())

        return run

    return wrap


def gateway_of(host: FakeHost, **settings: Any) -> Gateway:
    """A gateway on free ports."""
    return Gateway(host, Settings(**{"grpc_port": 0, "http_port": 0, **settings}))


@asynccontextmanager
async def serving(host: FakeHost, **settings: Any) -> AsyncIterator[Addresses]:
    """Serve `host` on free ports; leaves nothing running."""
    gateway = gateway_of(host, **settings)
    addresses = await gateway.start()
    try:
        yield addresses
    finally:
        await gateway.stop()


@asynccontextmanager
async def grpc_channel(addresses: Addresses) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"{addresses.host}:{addresses.grpc_port}") as channel:
        yield channel


@asynccontextmanager
async def grpc_call(addresses: Addresses, *sent: bytes) -> AsyncIterator[Any]:
    """A raw call: takes bytes, gives protobufs."""
    async with grpc_channel(addresses) as channel:
        method = channel.stream_stream(
            "/streamer.v1.Speech/StreamingRecognize", response_deserializer=pb.ServerMessage.FromString
        )
        call = method()
        for data in sent:
            await call.write(data)
        yield call


@asynccontextmanager
async def websocket(
    addresses: Addresses, *sent: str | bytes, path: str = "/v1/stream", **options: Any
) -> AsyncIterator[ClientConnection]:
    """A raw connection to the stream endpoint."""
    async with connect_websocket(addresses.websocket + path, proxy=None, **options) as connection:
        for frame in sent:
            await connection.send(frame)
        yield connection


async def until_closed(connection: ClientConnection) -> tuple[list[str], int, str]:
    """All frames that still come, then code and reason of the close frame."""
    frames = [frame async for frame in connection_frames(connection)]
    return frames, connection.close_code, connection.close_reason


async def connection_frames(connection: ClientConnection) -> AsyncIterator[str]:
    try:
        while True:
            yield await connection.recv(decode=True)
    except ConnectionClosed:
        return


async def failure_of(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Code, details and trailers of a call that fails; drops the messages before."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details(), dict(error.trailing_metadata())
    raise AssertionError(f"expected an error, got {await call.code()}")


async def get(addresses: Addresses, path: str) -> httpx.Response:
    """One GET request to the HTTP port."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://{addresses.host}:{addresses.http_port}{path}")
