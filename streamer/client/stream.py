"""One stream to a server, whatever carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from streamer.client import grpc, websocket
from streamer.client.access import ANYBODY, Access, Tls
from streamer.client.reconnect import Reconnect, Timing
from streamer.client.resumed import ResumedTransport, Transport, begin
from streamer.errors import InvalidRequest
from streamer.session.messages import (
    Audio,
    Cancel,
    Config,
    Done,
    End,
    Endpointing,
    Finalize,
    Interrupt,
    KeepAlive,
    Ready,
    ServerMessage,
    Text,
    Update,
)

SCHEMES = ("grpc", "grpcs", "ws", "wss")


@asynccontextmanager
async def connect(
    url: str,
    config: Config,
    *,
    resumable: bool = False,
    reconnect: Reconnect = Reconnect(),  # noqa: B008 - frozen
    api_key: str | None = None,
    tls: Tls = Tls(),  # noqa: B008 - frozen
) -> AsyncIterator[ClientStream]:
    """Open a stream and hang up on leaving.

    `url` is `grpc://host:port`, `ws://host:port`, or encrypted `grpcs://` and `wss://`. `resumable` lets the stream
    outlive its connection, as `reconnect` says: results come as if it had never been lost, and between them the
    warnings `disconnected` and `reconnected`. `api_key` is shown to the server, `tls` says which certificates to use.

    Raises the `StreamerError` with which the server refuses the stream, and `ConnectionError` if there is no server.
    """
    access = Access(api_key, tls)
    if resumable:
        transport, ready = await _open_resumed((url, *reconnect.urls), config, reconnect, access)
    else:
        transport = await open_transport(url, access)
        ready = await _ready_or_close(transport, config)
    stream = ClientStream(transport, ready)
    try:
        yield stream
    finally:
        await stream.close()


async def open_transport(url: str, access: Access = ANYBODY) -> Transport:
    """Open one connection; raises `InvalidRequest` for a URL of another scheme, `ConnectionError`."""
    check_url(url)
    if urlsplit(url).scheme in ("grpc", "grpcs"):
        return await grpc.open_transport(url, access)
    return await websocket.open_transport(url, access)


def check_url(url: str) -> None:
    """Raise `InvalidRequest` unless a stream can be opened at `url`."""
    if urlsplit(url).scheme not in SCHEMES:
        raise InvalidRequest(f"url: expected one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}, got {url!r}")


async def _open_resumed(
    urls: Sequence[str], config: Config, reconnect: Reconnect, access: Access
) -> tuple[Transport, Ready]:
    for url in urls:
        check_url(url)

    async def dial(attempt: int) -> Transport:
        return await open_transport(urls[attempt % len(urls)], access)

    transport = ResumedTransport(dial, config, reconnect, Timing())
    return transport, await transport.open()


async def _ready_or_close(transport: Transport, config: Config) -> Ready:
    try:
        return await begin(transport, config)
    except BaseException:
        await transport.close()
        raise


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

    async def say(self, text: str) -> None:
        """Send text to be spoken, cut anywhere; waits while the server has no room."""
        await self._transport.write(Text(text))

    async def interrupt(self, id: str = "") -> None:
        """Drop the text that is not spoken yet, and its audio; answered by `Interrupted(id)`. The stream stays open."""
        await self._transport.write(Interrupt(id))

    async def finalize(self, id: str = "") -> None:
        """Ask for the final words of all audio sent so far, answered by `Finalized(id)`.

        Of text: speak all of it that was sent so far, answered once its audio is out.
        """
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
        """No more audio, or text: what is left of the answer and `Done` follow."""
        await self._transport.write(End())

    async def close(self) -> None:
        """Hang up; leaving `connect` does it too."""
        await self._transport.close()

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
