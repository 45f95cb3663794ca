"""The WebSocket transport of the client."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from streamer.client.access import ANYBODY, Access
from streamer.client.binary import BinaryFrames
from streamer.errors import Draining, MessageTooLarge, StreamerError, Unauthenticated
from streamer.session.messages import ClientMessage, Config, ServerMessage
from streamer.wire import json

_PATH = "/v1/stream"
_SUBPROTOCOL = Subprotocol("streamer.v1")
_MAX_RECEIVED_BYTES = 1 << 22
_CLOSE_TIMEOUT_S = 1.0
# Seconds of silence after which the system asks, how often and how many times in vain; milliseconds that data may
# wait to be taken in.
_TCP_OPTIONS = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
# Close codes that a server may send without an error message before them.
_BARE_CLOSES: dict[int, type[StreamerError]] = {1009: MessageTooLarge, 1012: Draining}


async def open_transport(url: str, access: Access = ANYBODY) -> WebSocketTransport:
    """Connect to `ws://host:port` or `wss://host:port` (path `/v1/stream` unless it has one).

    Raises `ConnectionError`, and `Unauthenticated` if something before the server wants other credentials.
    """
    parts = urlsplit(url)
    if parts.path in ("", "/"):
        url = urlunsplit(parts._replace(path=_PATH))
    try:
        # No pings: a server that waits for room in a stream does not read them. Sessions have an idle timeout.
        # No proxy: a speech server is one's own, proxies of the environment are for the internet.
        connection = await connect_websocket(
            url,
            subprotocols=[_SUBPROTOCOL],
            compression=None,
            max_size=_MAX_RECEIVED_BYTES,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            proxy=None,
            additional_headers=access.headers,
            ssl=access.ssl_context() if parts.scheme == "wss" else None,
        )
    except InvalidStatus as error:
        kind = Unauthenticated if error.response.status_code == 401 else ConnectionError
        raise kind(f"no stream at {url}: {error}") from None
    except (InvalidHandshake, OSError) as error:
        raise ConnectionError(f"no stream at {url}: {str(error) or 'no answer'}") from None
    _notice_silence(connection.transport.get_extra_info("socket"))
    return WebSocketTransport(connection)


def _notice_silence(tcp: Any) -> None:
    """Let the system find a server that vanished without closing, where it can."""
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS.items():
        if hasattr(socket, name):
            tcp.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class WebSocketTransport:
    """One WebSocket connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._binary: BinaryFrames | None = None

    async def write(self, message: ClientMessage) -> None:
        """Send one message, waiting for room; drops it if the server has ended the stream."""
        frame = json.encode_client(message)
        if isinstance(message, Config):
            self._binary = BinaryFrames(message)
        try:
            await self._connection.send(frame)
        except ConnectionClosed:
            # The stream is over; `read` tells why.
            return

    async def read(self) -> ServerMessage:
        """Return the next message; raises the error of the stream, or `ConnectionError`."""
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as error:
            raise _translate(error) from None
        if isinstance(frame, bytes):
            if self._binary is None:
                raise ConnectionError("expected ready first, got a binary frame")
            return self._binary.message(frame)
        message = json.decode_server(frame)
        if isinstance(message, StreamerError):
            raise message
        return message

    async def close(self) -> None:
        """Hang up."""
        await self._connection.close()


def _translate(error: ConnectionClosed) -> Exception:
    if error.rcvd is None:
        return ConnectionError("connection lost before done")
    code, reason = error.rcvd.code, error.rcvd.reason
    kind = _BARE_CLOSES.get(code, ConnectionError)
    return kind(f"server closed the stream with {code} {reason}".rstrip())
