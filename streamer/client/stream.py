"""One stream to a server, whatever carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

from streamer.client import grpc, websocket
from streamer.errors import InvalidRequest
from streamer.session.messages import (
    Audio,
    Cancel,
    ClientMessage,
    Config,
    Done,
    End,
    Endpointing,
    Finalize,
    KeepAlive,
    Ready,
    ServerMessage,
    Update,
)


class Transport(Protocol):
    """A connection that carries messages."""

    async def write(self, message: ClientMessage) -> None:
        """Send one message, waiting for room; drops it if the server has ended the stream."""

    async def read(self) -> ServerMessage:
        """Return the next message; raises the error of the stream, or `ConnectionError`."""

    async def close(self) -> None:
        """Hang up."""


@asynccontextmanager
async def connect(url: str, config: Config) -> AsyncIterator[ClientStream]:
    """Open a stream at `grpc://host:port`, `ws://host:port` or `wss://host:port`, and hang up on leaving.

    Raises the `StreamerError` with which the server refuses the stream, and `ConnectionError` if there is no server.
    """
    transport = await _open(url)
    try:
        await transport.write(config)
        ready = await transport.read()
        if not isinstance(ready, Ready):
            raise ConnectionError(f"expected ready first, got {type(ready).__name__.lower()}")
        yield ClientStream(transport, ready)
    finally:
        await transport.close()


class ClientStream:
    """A stream that the server has admitted; iterate to get its messages after `Ready`, `Done` being the last one.

    Sending never raises for the stream's own end: iterating tells why it ended.
    """

    def __init__(self, transport: Transport, ready: Ready) -> None:
        self.ready = ready
        self._transport = transport
        self._done = False

    async def send(self, data: bytes, first_sample: int | None = None) -> None:
        """Send audio; waits while the server has no room."""
        await self._transport.write(Audio(data, first_sample))

    async def finalize(self, id: str = "") -> None:
        """Ask for the final words of all audio sent so far, answered by `Finalized(id)`."""
        await self._transport.write(Finalize(id))

    async def keep_alive(self) -> None:
        """Restart the server's idle timer."""
        await self._transport.write(KeepAlive())

    async def update(self, endpointing: Endpointing) -> None:
        """Change the endpoint rules."""
        await self._transport.write(Update(endpointing))

    async def cancel(self) -> None:
        """Drop what is not yet processed; `Done` follows."""
        await self._transport.write(Cancel())

    async def end(self) -> None:
        """No more audio: the last finals and `Done` follow."""
        await self._transport.write(End())

    async def receive(self) -> ServerMessage | None:
        """Return the next message, None after `Done`; raises the error that ended the stream."""
        if self._done:
            return None
        message = await self._transport.read()
        self._done = isinstance(message, Done)
        return message

    async def __aiter__(self) -> AsyncIterator[ServerMessage]:
        while (message := await self.receive()) is not None:
            yield message


async def _open(url: str) -> Transport:
    scheme = urlsplit(url).scheme
    if scheme == "grpc":
        return await grpc.open_transport(url)
    if scheme in ("ws", "wss"):
        return await websocket.open_transport(url)
    raise InvalidRequest(f"url: expected grpc://, ws:// or wss://, got {url!r}")
