"""All servers over one host: start, and leave in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from streamer.audio.extra import load_av
from streamer.config import Settings
from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.access import Access
from streamer.gateway.admin import check_exposure, create_admin_app, is_loopback
from streamer.gateway.commands import model_commands
from streamer.gateway.embedded import HttpServer
from streamer.gateway.grpc import GrpcServer
from streamer.gateway.http import create_app
from streamer.gateway.readiness import Readiness
from streamer.gateway.services import Services
from streamer.gateway.tls import Certificates
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
    admin_port: int | None = None
    is_secure: bool = False

    @property
    def grpc(self) -> str:
        """Target of gRPC clients."""
        return f"{'grpcs' if self.is_secure else 'grpc'}://{_bracketed(self.host)}:{self.grpc_port}"

    @property
    def websocket(self) -> str:
        """Address of WebSocket clients."""
        return f"{'wss' if self.is_secure else 'ws'}://{_bracketed(self.host)}:{self.http_port}"

    @property
    def page(self) -> str:
        """Address for browsers."""
        return f"{'https' if self.is_secure else 'http'}://{_bracketed(self.host)}:{self.http_port}/"

    @property
    def wyoming(self) -> str | None:
        """Address of Wyoming clients; None if there is none."""
        return None if self.wyoming_port is None else f"tcp://{_bracketed(self.host)}:{self.wyoming_port}"


class Gateway:
    """The gRPC, HTTP, Wyoming and admin servers of a host. The host is started and stopped by whoever made it.

    Raises `InvalidRequest` for keys and certificates that cannot be used, and for commands open to a network.
    """

    def __init__(self, host: Host, settings: Settings, shared_ports: bool = False) -> None:
        self._host = host
        self._settings = settings
        self._readiness = Readiness(host)
        self._access = Access(settings.access, on_refused=host.count_refusal)
        check_exposure(settings, self._access)
        self._certificates = Certificates(settings.tls) if settings.tls else None
        self._follower: asyncio.Task[None] | None = None
        services = Services(host, settings, self._access, self._readiness)
        self._grpc = GrpcServer(services, self._certificates, shared_ports)
        self._http = HttpServer(create_app(services), self._certificates, shared_ports)
        # On loopback there is nobody to hide from, and those who scrape metrics need no certificate.
        admin_certificates = None if is_loopback(settings.admin_host) else self._certificates
        self._admin = HttpServer(create_admin_app(services, model_commands(services)), admin_certificates)
        self._wyoming = WyomingServer(services, shared_ports)

    async def start(self) -> Addresses:
        """Bind the ports and serve; raises `OSError` and then serves nothing."""
        # Loaded before anybody waits for it: the first compressed stream must not hold up the others.
        await asyncio.to_thread(load_av)
        address = self._settings.host
        http_port = await self._http.start(address, self._settings.http_port)
        try:
            grpc_port = await self._grpc.start(address, self._settings.grpc_port)
            wyoming_port = await self._start_wyoming(address)
            admin_port = await self._start_admin()
        except OSError:
            await self._stop_servers(0)
            raise
        if self._certificates is not None:
            self._follower = asyncio.create_task(self._certificates.follow())
        addresses = Addresses(address, grpc_port, http_port, wyoming_port, admin_port, self._certificates is not None)
        self._log_start(addresses)
        return addresses

    async def _start_admin(self) -> int | None:
        port = self._settings.admin_port
        return None if port is None else await self._admin.start(self._settings.admin_host, port)

    def _log_start(self, addresses: Addresses) -> None:
        ports = {name: getattr(addresses, name) for name in ("grpc_port", "http_port", "wyoming_port", "admin_port")}
        log.info("serving", host=addresses.host, **ports)
        if self._access.is_open and not is_loopback(addresses.host):
            log.warning("everybody who reaches this address may stream, no keys are set", host=addresses.host)

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
        if self._follower is not None:
            self._follower.cancel()
        servers = (self._grpc, self._http, self._wyoming, self._admin)
        await asyncio.gather(*(server.stop(grace_s) for server in servers))

    async def reload(self) -> None:
        """Read keys, certificates and models again; what cannot be used is logged, and the old ones stay."""
        await asyncio.to_thread(self._reload_files)
        try:
            await self._host.rollout.reload()
        except StreamerError as error:
            log.error("models not reloaded", reason=str(error))

    def _reload_files(self) -> None:
        try:
            self._access.reload()
        except InvalidRequest as error:
            log.error("keys not reloaded", reason=str(error))
        else:
            log.info("keys reloaded", count=len(self._access.key_names))
        if self._certificates is not None:
            self._certificates.try_reload()

    async def run(self, on_started: Callable[[Addresses], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal stops at once. SIGHUP reloads."""
        with _captured_signals() as signals, _on_hangup(self.reload):
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


@contextlib.contextmanager
def _on_hangup(reload: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Run `reload` at each SIGHUP."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    def start() -> None:
        task = loop.create_task(reload())
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, start)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
