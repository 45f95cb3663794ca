"""All servers over one host: start, and leave in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from streamer.config import Settings
from streamer.gateway.access import Access
from streamer.gateway.embedded import HttpServer
from streamer.gateway.grpc import GrpcServer
from streamer.gateway.http import create_app
from streamer.gateway.readiness import Readiness
from streamer.gateway.services import Services
from streamer.gateway.wyoming.server import WyomingServer

if TYPE_CHECKING:
    from streamer.host import Host

# Time for the last frames to leave once every stream has ended.
_GRACE_S = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a gateway listens; the ports are the bound ones."""

    host: str
    grpc_port: int
    http_port: int
    wyoming_port: int | None = None

    @property
    def grpc(self) -> str:
        """Target of gRPC clients."""
        return f"grpc://{_bracketed(self.host)}:{self.grpc_port}"

    @property
    def websocket(self) -> str:
        """Address of WebSocket clients."""
        return f"ws://{_bracketed(self.host)}:{self.http_port}"

    @property
    def wyoming(self) -> str | None:
        """Address of Wyoming clients; None if there is none."""
        return None if self.wyoming_port is None else f"tcp://{_bracketed(self.host)}:{self.wyoming_port}"


class Gateway:
    """The gRPC, HTTP and Wyoming servers of a host. The host is started and stopped by whoever made it."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self._host = host
        self._settings = settings
        self._readiness = Readiness(host)
        services = Services(host, settings, Access(), self._readiness)
        self._grpc = GrpcServer(services)
        self._http = HttpServer(create_app(services))
        self._wyoming = WyomingServer(services)

    async def start(self) -> Addresses:
        """Bind the ports and serve; raises `OSError` and then serves nothing."""
        address = self._settings.host
        http_port = await self._http.start(address, self._settings.http_port)
        try:
            grpc_port = await self._grpc.start(address, self._settings.grpc_port)
            wyoming_port = await self._start_wyoming(address)
        except OSError:
            await self._stop_servers(0)
            raise
        log.info("serving", host=address, grpc_port=grpc_port, http_port=http_port, wyoming_port=wyoming_port)
        return Addresses(address, grpc_port, http_port, wyoming_port)

    async def _start_wyoming(self, address: str) -> int | None:
        port = self._settings.wyoming_port
        return None if port is None else await self._wyoming.start(address, port)

    async def drain(self) -> None:
        """Refuse new streams, let the others finish until the deadline, then stop all servers."""
        self._readiness.begin_drain()
        await self._grpc.refresh_health()
        await self._host.drain(self._settings.drain_deadline_s)
        await self._stop_servers(_GRACE_S)

    async def stop(self) -> None:
        """Stop all servers now, whatever is still open. Idempotent, also before `start`."""
        self._readiness.begin_drain()
        await self._stop_servers(0)

    async def _stop_servers(self, grace_s: float) -> None:
        await asyncio.gather(*(server.stop(grace_s) for server in (self._grpc, self._http, self._wyoming)))

    async def run(self, on_started: Callable[[Addresses], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal stops at once."""
        with _captured_signals() as signals:
            addresses = await self.start()
            try:
                if on_started is not None:
                    on_started(addresses)
                log.info("draining", signal=(await signals.get()).name, deadline_s=self._settings.drain_deadline_s)
                await self._drain_unless(signals)
            finally:
                await self.stop()

    async def _drain_unless(self, signals: asyncio.Queue[signal.Signals]) -> None:
        drain = asyncio.create_task(self.drain())
        second = asyncio.create_task(signals.get())
        await asyncio.wait((drain, second), return_when=asyncio.FIRST_COMPLETED)
        second.cancel()
        if drain.done():
            drain.result()
            return
        log.warning("stopping at once", signal=second.result().name)
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)


@contextlib.contextmanager
def _captured_signals() -> Iterator[asyncio.Queue[signal.Signals]]:
    """Signals that would end the process go into the queue instead."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        yield signals
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
