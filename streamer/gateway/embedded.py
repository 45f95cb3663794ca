"""uvicorn inside an event loop that is not its own, with limits and without its signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

# Above the frame limit of a session, which answers with a clear error; what exceeds this too is cut off with 1009.
MAX_MESSAGE_BYTES = 1 << 20
_BACKLOG = 1024
# The kernel closes a connection whose peer has taken nothing for so long, even if it still answers (tcp(7)).
_PEER_TIMEOUT_MS = 30_000
_STOP_GRACE_S = 2


class HttpServer:
    """Serves an ASGI app at one address; port 0 takes a free one."""

    def __init__(self, app: Starlette) -> None:
        self._server = _Server(_config(app))
        self._task: asyncio.Task[None] | None = None

    async def start(self, address: str, port: int) -> int:
        """Bind and serve; returns the port. Raises `OSError` if it cannot be bound."""
        listener = _listen(address, port)
        self._task = asyncio.create_task(self._server.serve([listener]))
        started = asyncio.create_task(self._server.running.wait())
        await asyncio.wait((self._task, started), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self, force: bool = False) -> None:
        """Close the port and what is still connected; `force` waits for nobody."""
        self._server.exit(force)
        if self._task is not None:
            await self._task


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.running = asyncio.Event()
        self._exit = asyncio.Event()

    def exit(self, force: bool) -> None:
        self.force_exit = self.force_exit or force
        self._exit.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.running.set()

    async def main_loop(self) -> None:
        # Upstream polls ten times a second; it has nothing to do here but to wait.
        await self._exit.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are the gateway's: uvicorn would close every WebSocket at the first one.
        yield


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        # This implementation reads on only when the app has taken what came: back-pressure reaches the client.
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        # A paused reader sees no pongs, so pings would cut off streams that wait for room. Sessions time out instead.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_STOP_GRACE_S,
    )


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_TIMEOUT_MS)
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot bind http to {address}:{port}: {error.strerror or error}") from None
    return listener
