"""A real host with a toy model, reached in process or over a real socket, always through the client's interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from streamer.bundle.loader import load_bundle
from streamer.client import ClientStream, connect, grpc, websocket
from streamer.client.stream import Transport
from streamer.config import Settings
from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.gateway.server import Addresses, Gateway
from streamer.host import Host, Stream
from streamer.host.assemble import programs_of
from streamer.session.messages import ClientMessage, Config, Ready, ServerMessage
from tests.toys import write_counter_asr

TRANSPORTS = ("grpc", "websocket", "in_process")


class Connect(Protocol):
    def __call__(self, config: Config) -> AbstractAsyncContextManager[ClientStream]: ...


class Dial(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[Transport]: ...


@dataclass
class Served:
    """A server under test."""

    host: Host
    gateway: Gateway
    addresses: Addresses
    connect: Connect
    dial: Dial
    """A connection that has said nothing yet."""


@asynccontextmanager
async def serving(
    folder: Path,
    transport: str,
    max_streams: int = 16,
    write: Callable[[Path], Path] = write_counter_asr,
    also: Callable[[Path], Path] | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Serve the toy that `write` writes over `transport` with one worker, and beside it what `also` writes."""
    bundles = [load_bundle(one(folder)) for one in (write, also) if one is not None]
    registry = CollectorRegistry()
    workers = EngineSettings(workers=1, max_streams=max_streams)
    engine = Engine(bundles, workers, programs_of(bundles), registry=registry)
    chosen = Settings(grpc_port=0, http_port=0, **settings)
    host = Host(engine, bundles, chosen, registry)
    await host.start()
    gateway = Gateway(host, chosen)
    try:
        addresses = await gateway.start()
        dial = partial(_dial, host, addresses, transport)
        yield Served(host, gateway, addresses, _connector(host, addresses, transport), dial)
    finally:
        await gateway.stop()
        await host.stop()


def _connector(host: Host, addresses: Addresses, transport: str) -> Connect:
    if transport == "in_process":
        return lambda config: _connect_in_process(host, config)
    return lambda config: connect(getattr(addresses, transport), config)


class _InProcess:
    """The stream of a host as a transport of the client."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def write(self, message: ClientMessage) -> None:
        await self._stream.send(message)

    async def read(self) -> ServerMessage:
        message = await self._stream.receive()
        if message is None:
            raise ConnectionError("nothing follows done")
        return message

    async def close(self) -> None:
        self._stream.abort()


@asynccontextmanager
async def _dial(host: Host, addresses: Addresses, transport: str) -> AsyncIterator[Transport]:
    if transport == "grpc":
        connection: Transport = await grpc.open_transport(addresses.grpc)
    elif transport == "websocket":
        connection = await websocket.open_transport(addresses.websocket)
    else:
        connection = _InProcess(host.connect())
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _connect_in_process(host: Host, config: Config) -> AsyncIterator[ClientStream]:
    transport = _InProcess(host.connect())
    try:
        await transport.write(config)
        ready = await transport.read()
        assert isinstance(ready, Ready)
        yield ClientStream(transport, ready)
    finally:
        await transport.close()
