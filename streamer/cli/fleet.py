"""`streamer serve` with `processes` above 1: several servers on the same ports, for machines with many cores.

One Python process cannot feed many cores: its event loop and its workers share an interpreter. Here the kernel deals
connections out to processes that listen on one port (`SO_REUSEPORT`), each with workers and models of its own. A stream
belongs to one process for life. This process serves nobody: it starts the others, watches them, and speaks for them to
operators.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr

from streamer.errors import StreamerError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from streamer.config import Settings
    from streamer.gateway.fleet import Ask
    from streamer.gateway.server import Addresses
    from streamer.host import Host

# A process that was lost is started again, but not faster than this.
_RESTART_S = 1.0
_PORTS = ("grpc_port", "http_port", "wyoming_port")

log = structlog.get_logger()
_spawn = multiprocessing.get_context("spawn")


class Member:
    """One process of the fleet, and where it listens once it has said so."""

    def __init__(self, index: int, settings: Settings) -> None:
        self.addresses: Addresses | None = None
        self._pipe, there = _spawn.Pipe()
        self._process = _spawn.Process(target=_serve_in_child, args=(index, settings, there), name=f"streamer-{index}")
        self._process.start()
        there.close()

    async def until_ready(self) -> bool:
        """Wait until it serves; False if it ends before."""
        await _until_readable(self._pipe.fileno())
        try:
            self.addresses = self._pipe.recv()
        except EOFError:
            return False
        return True

    async def until_gone(self) -> int | None:
        """Wait for its end; returns the exit status."""
        await _until_readable(self._process.sentinel)
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Pass a signal on, unless it is gone."""
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, number)


async def _until_readable(descriptor: int) -> None:
    """Wait without a thread: a pool that watched one process per core would have none left for anything else."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


class Fleet:
    """The processes of one `streamer serve`; `settings` are those of all together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shares: tuple[Settings, ...] = ()
        self._members: dict[int, Member] = {}
        self._leaving = False

    async def run(self, on_started: Callable[[Addresses], None]) -> None:
        """Serve until SIGTERM or SIGINT, then let all drain; a second signal stops at once. SIGHUP reloads all.

        `on_started` is told where they listen. Raises `StreamerError` if not all of them start.
        """
        _check_exposure(self._settings)
        with _reserved_ports(self._settings) as settings, self._captured_signals():
            self._shares = member_settings(settings)
            self._members = {index: Member(index, share) for index, share in enumerate(self._shares)}
            try:
                await self._serve(on_started)
            finally:
                self._send_all(signal.SIGTERM)
                await asyncio.gather(*(member.until_gone() for member in self._members.values()))

    async def _serve(self, on_started: Callable[[Addresses], None]) -> None:
        members = self._members.values()
        ready = await asyncio.gather(*(member.until_ready() for member in members))
        if self._leaving:
            return
        if not all(ready):
            raise StreamerError(
                f"{ready.count(False)} of {len(ready)} processes did not start, their messages tell why"
            )
        async with self._admin_port() as admin_port:
            addresses = next(member.addresses for member in members if member.addresses is not None)
            log.info("serving", processes=len(members), admin_port=admin_port)
            on_started(replace(addresses, admin_port=admin_port))
            await asyncio.gather(*(self._keep(index) for index in self._members))

    async def _keep(self, index: int) -> None:
        """Start another process whenever this one is lost; returns when the fleet leaves."""
        while True:
            status = await self._members[index].until_gone()
            if self._leaving:
                return
            log.error("process lost, starting another", process=index, status=status)
            await asyncio.sleep(_RESTART_S)
            if self._leaving:
                return
            self._members[index] = Member(index, self._shares[index])
            await self._members[index].until_ready()

    @asynccontextmanager
    async def _admin_port(self) -> AsyncIterator[int | None]:
        from streamer.gateway.admin import is_loopback
        from streamer.gateway.embedded import HttpServer
        from streamer.gateway.fleet import fleet_app
        from streamer.gateway.tls import Certificates

        if self._settings.admin_port is None:
            log.warning("metrics of several processes are on the admin port, and none is set")
            yield None
            return
        tls = None if is_loopback(self._settings.admin_host) else self._settings.tls
        certificates = None if tls is None else Certificates(tls)
        server = HttpServer(fleet_app(self._asks), certificates)
        try:
            yield await server.start(self._settings.admin_host, self._settings.admin_port)
        finally:
            await server.stop(0)

    def _asks(self) -> Mapping[str, Ask]:
        from streamer.gateway.fleet import asking

        ready = {index: member.addresses for index, member in self._members.items() if member.addresses is not None}
        return {str(index): asking(f"http://127.0.0.1:{addresses.admin_port}") for index, addresses in ready.items()}

    def _leave(self) -> None:
        log.info("stopping at once" if self._leaving else "draining", processes=len(self._members))
        self._leaving = True
        self._send_all(signal.SIGTERM)

    def _send_all(self, number: signal.Signals) -> None:
        for member in self._members.values():
            member.send_signal(number)

    @contextmanager
    def _captured_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        actions = {signal.SIGTERM: self._leave, signal.SIGINT: self._leave}
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        loop.add_signal_handler(signal.SIGHUP, self._send_all, signal.SIGHUP)
        try:
            yield
        finally:
            for number in (*actions, signal.SIGHUP):
                loop.remove_signal_handler(number)


def _check_exposure(settings: Settings) -> None:
    """The processes listen on loopback, so only this one can tell whether commands would be open to a network."""
    from streamer.gateway.access import Access
    from streamer.gateway.admin import check_exposure

    check_exposure(settings, Access(settings.access))


def member_settings(settings: Settings) -> tuple[Settings, ...]:
    """Return the settings of each process: an equal share of cores, streams and memory, and the same secrets."""
    count, engine = settings.processes, settings.engine
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = engine.model_copy(
        update={
            "workers": engine.workers or max(1, cores // count),
            "max_streams": -(-engine.max_streams // count),
            "memory_budget_mb": max(1, engine.memory_budget_mb // count),
        }
    )
    ticket_secret = settings.access.ticket_secret or _random_secret()
    # Without a folder that all of them read, none could take up a stream of another.
    resume_secret = settings.resume.secret or (None if settings.state_dir else _random_secret())
    resume = settings.resume.model_copy(update={"secret": resume_secret})
    # On the shared port metrics would be those of whoever takes the connection.
    access = settings.access.model_copy(update={"ticket_secret": ticket_secret, "metrics": "admin_port"})
    own: dict[str, Any] = {"admin_host": "127.0.0.1", "admin_port": 0}
    return (settings.model_copy(update={"engine": share, "access": access, "resume": resume, **own}),) * count


def _random_secret() -> SecretStr:
    return SecretStr(secrets.token_hex(32))


@contextmanager
def _reserved_ports(settings: Settings) -> Iterator[Settings]:
    """Hold the ports that the processes share, without listening; yields `settings` with the numbers they got.

    Raises `StreamerError` if somebody else listens there.
    """
    with ExitStack() as held:
        ports = {name: getattr(settings, name) for name in _PORTS if getattr(settings, name) is not None}
        bound = {name: held.enter_context(_reserved(settings.host, port)) for name, port in ports.items()}
        yield settings.model_copy(update=bound)


@contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    try:
        if port:
            # Without sharing first: processes of another server must not share the port with ours.
            with _bound(host, port, shared=False):
                pass
        holder = _bound(host, port, shared=True)
    except OSError as error:
        raise StreamerError(f"cannot bind to {host}:{port}: {error.strerror or error}") from None
    with holder:
        yield holder.getsockname()[1]


def _bound(host: str, port: int, shared: bool) -> socket.socket:
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        holder.bind((host, port))
    except OSError:
        holder.close()
        raise
    return holder


def _serve_in_child(index: int, settings: Settings, pipe: Connection) -> None:
    """Be one process of the fleet: a whole server, which tells its addresses to the one that watches it."""
    import sys

    from streamer.cli.logs import configure_logging
    from streamer.cli.serve import serve_until_told

    # Ctrl-C at the terminal is for the process that watches: it passes on one signal, not two.
    os.setsid()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    threading.Thread(target=_leave_with_watcher, args=(pipe,), name="watcher", daemon=True).start()
    configure_logging(settings.log_level, index)

    def tell(_: Host, addresses: Addresses) -> None:
        pipe.send(addresses)

    try:
        asyncio.run(serve_until_told(settings, tell, shared_ports=True))
    except StreamerError as error:
        sys.stderr.write(f"streamer: {error}\n")
        sys.exit(1)


def _leave_with_watcher(pipe: Connection) -> None:
    """Drain when the process that watches is gone, however it went."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
