"""A `streamer serve` of one's own, in a subprocess on free ports."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamer.cli.port_file import Ports, read_ports
from streamer.errors import StreamerError

READY_S = 120.0
STOP_S = 30.0
_POLL_S = 0.02
_SHOWN_LINES = 5


class ServerProcess:
    """A server that is ready. `arguments` are those of `streamer serve`; see `running_server`."""

    def __init__(self, process: subprocess.Popen[bytes], ports: Ports) -> None:
        self._process = process
        self.grpc = f"grpc://{ports['host']}:{ports['grpc_port']}"
        self.websocket = f"ws://{ports['host']}:{ports['http_port']}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self) -> int:
        """Ask it to drain and leave, and return its exit status; -9 if it had to be killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def running_server(arguments: Sequence[str]) -> Iterator[ServerProcess]:
    """Start a server, wait until it is ready, and stop it on leaving.

    Raises `StreamerError` with its last words if it ends before it is ready.
    """
    with tempfile.TemporaryDirectory() as name, _leaving_on_sigterm():
        folder = Path(name)
        process = _start(folder, arguments)
        server: ServerProcess | None = None
        try:
            server = ServerProcess(process, _wait_for_ports(process, folder))
            yield server
        finally:
            if process.poll() is None:
                server.stop() if server else process.kill()
            process.wait()


@contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the program, so that it takes its server with it."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "streamer.cli.main", "serve", *arguments),
        *("--grpc-port", "0", "--http-port", "0", "--port-file", str(folder / "ports.json")),
    ]
    with (folder / "log").open("wb") as log:
        # In a group of its own: Ctrl-C is ours to handle, the server is told to drain.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _wait_for_ports(process: subprocess.Popen[bytes], folder: Path) -> Ports:
    deadline = time.monotonic() + READY_S
    while (ports := read_ports(folder / "ports.json")) is None:
        if process.poll() is not None:
            raise StreamerError(f"the server ended with status {process.returncode}: {_last_words(folder)}")
        if time.monotonic() > deadline:
            raise StreamerError(f"the server was not ready within {READY_S:g} s: {_last_words(folder)}")
        time.sleep(_POLL_S)
    return ports


def _last_words(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    return "\n".join(lines[-_SHOWN_LINES:]) or "it said nothing"
