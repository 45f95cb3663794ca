"""uvicorn inside an event loop that is not its own, with limits and without its signal handlers."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from starlette.applications import Starlette

from streamer.gateway.connections import MAX_MESSAGE_BYTES, HttpProtocol, WebSocketProtocol
from streamer.gateway.tls import Certificates

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


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
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
