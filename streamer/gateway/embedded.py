"""uvicorn inside an event loop that is not its own, with limits and without its signal handlers."""

from __future__ import annotations

import asyncio
import socket

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from streamer.gateway.tls import Certificates

# Above the frame limit of a session, which answers with a clear error; what exceeds this too is cut off with 1009.
MAX_MESSAGE_BYTES = 1 << 20
# Protocols that promise more, by path: Realtime clients may send 15 MiB of audio at once, in base64.
LARGER_MESSAGES = {"/v1/realtime": 21 << 20}
# How long the head of a request may take; those who just connect and wait are sent away after it too.
REQUEST_HEAD_S = 15.0
# How long a connection may go on after its stream has ended, for the last words to be taken.
LINGER_S = 5.0
_BACKLOG = 1024
# The kernel closes a connection whose peer has taken nothing for so long, even if it still answers (tcp(7)).
_PEER_TIMEOUT_MS = 30_000
# How long requests may take to notice that their connection was closed.
_CUT_OFF_S = 1.0


class HttpServer:
    """Serves an ASGI app at one address, over TLS with `certificates`; port 0 takes a free one.

    Drives uvicorn by its steps: its own `serve` takes over the signals and closes every WebSocket at the first one.
    """

    def __init__(self, app: Starlette, certificates: Certificates | None = None, is_port_shared: bool = False) -> None:
        self._is_port_shared = is_port_shared
        self._config = _config(app)
        self._certificates = certificates
        self._server = uvicorn.Server(self._config)

    async def start(self, address: str, port: int) -> int:
        """Bind and serve; returns the port. Raises `OSError` if it cannot be bound."""
        listener = _listen(address, port, self._is_port_shared)
        self._config.load()
        self._config.ssl = self._certificates.http_context() if self._certificates else None
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup([listener])
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self, grace_s: float) -> None:
        """Close the port; requests and streams still running after `grace_s` are cut off. Idempotent."""
        if not self._server.started:
            return
        for server in self._server.servers:
            server.close()
        if grace_s:
            # Last words must leave before connections close.
            await self._wait_for_requests(grace_s)
        for connection in tuple(self._server.server_state.connections):
            connection.shutdown()
        await self._wait_for_requests(_CUT_OFF_S)

    async def _wait_for_requests(self, timeout_s: float) -> None:
        running = tuple(self._server.server_state.tasks)
        if running:
            await asyncio.wait(running, timeout=timeout_s)


class _HttpProtocol(H11Protocol):
    """Gives a request's head a limited time to arrive; uvicorn waits for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_between_requests and self._head_timer is None:
            self._expect_head()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if not self._is_between_requests:
            self._forget_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._forget_head()
        super().handle_websocket_upgrade(event)

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(REQUEST_HEAD_S, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """Limits messages by the path that they are for.

    This implementation reads on only when the app has taken what came: back-pressure reaches the client.
    """

    def handle_connect(self, event: Request) -> None:
        limit = LARGER_MESSAGES.get(event.path.partition("?")[0], MAX_MESSAGE_BYTES)
        # websockets 16 gave it another name.
        setattr(self.conn, "max_size" if hasattr(self.conn, "max_size") else "max_message_size", limit)
        super().handle_connect(event)

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            # Closing waits until what was written is taken, which a client that does not read never does.
            self.loop.call_later(LINGER_S, self.transport.abort)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_HttpProtocol,
        ws=_WebSocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        # A paused reader sees no pongs, so pings would cut off streams that wait for room. Sessions time out instead.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        lifespan="off",
        log_config=None,
        access_log=False,
        # Otherwise uvicorn logs two lines per WebSocket.
        log_level="warning",
        server_header=False,
        date_header=False,
    )


def _listen(address: str, port: int, is_shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_TIMEOUT_MS)
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot bind http to {address}:{port}: {error.strerror or error}") from None
    return listener
