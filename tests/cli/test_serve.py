"""The server as a process: ports, readiness, drain, exit status."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamer.cli.port_file import read_ports, write_ports
from streamer.cli.server_process import running_server
from streamer.client import connect
from streamer.errors import StreamerError
from streamer.session.messages import Config, Done, Result, Warning
from tests.cli.conftest import speech

CONFIG = Config("pcm_f32le", 16000, 1)


def arguments(toys: Path) -> list[str]:
    return ["--bundle-path", str(toys), "--model", "counter-asr", "--workers", "1"]


@contextmanager
def serve(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "streamer.cli.main", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ready_line_port_file_and_clean_exit(toys: Path, tmp_path: Path) -> None:
    """One line on standard output tells both addresses, the port file the ports; SIGTERM ends with status 0."""
    ports_file = tmp_path / "ports.json"
    ports_file.write_text("stale")
    options = ("--grpc-port", "0", "--http-port", "0", "--port-file", str(ports_file))
    with serve(*arguments(toys), *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        ports = json.loads(ports_file.read_text())
        assert (ports["host"], ports["pid"]) == ("127.0.0.1", process.pid)
        assert line == (
            f"streamer is ready: grpc://127.0.0.1:{ports['grpc_port']}, ws://127.0.0.1:{ports['http_port']}, "
            f"page http://127.0.0.1:{ports['http_port']}/, serving counter-asr@1.0.0\n"
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
        events = [json.loads(log)["event"] for log in process.stderr.read().splitlines()]
        assert events == ["bundle ready", "serving", "draining"]


@pytest.mark.parametrize("transport", ["grpc", "websocket"])
def test_sigterm_lets_streams_finish(toys: Path, transport: str) -> None:
    """A live stream is warned, finishes with all its words, and only then does the server leave, with status 0."""

    async def run(address: str) -> list[object]:
        messages: list[object] = []
        async with connect(address, CONFIG) as stream:
            await stream.send(speech(0.5).tobytes())
            process.send_signal(signal.SIGTERM)
            async for message in stream:
                messages.append(message)
                if isinstance(message, Warning):
                    await stream.send(speech(0.5).tobytes())
                    await stream.end()
        return messages

    with running_server(arguments(toys)) as server:
        process = server._process
        messages = asyncio.run(run(getattr(server, transport)))
        assert process.wait(20) == 0
    assert [message.code for message in messages if isinstance(message, Warning)] == ["draining"]
    assert any(isinstance(message, Result) and message.is_final for message in messages)
    assert isinstance(messages[-1], Done)
    assert messages[-1].audio_samples == 16000


@pytest.mark.parametrize("port", ["grpc", "http"])
def test_port_in_use(toys: Path, port: str) -> None:
    """A port that is taken is one line and status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ports = {"grpc": "0", "http": "0", port: str(number)}
        options = ["--grpc-port", ports["grpc"], "--http-port", ports["http"], "--log-level", "warning"]
        with serve(*arguments(toys), *options) as process:
            assert process.wait(30) == 1
            assert process.stderr is not None
            error = process.stderr.read()
    assert error.startswith(f"streamer: cannot bind {port} to 127.0.0.1:{number}")
    assert error.count("\n") == 1


def test_unwritable_port_file(toys: Path, tmp_path: Path) -> None:
    """A server that cannot tell its ports does not serve."""
    missing = tmp_path / "none" / "ports.json"
    options = ["--grpc-port", "0", "--http-port", "0", "--port-file", str(missing), "--log-level", "warning"]
    with serve(*arguments(toys), *options) as process:
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == f"streamer: cannot write port file {missing}: No such file or directory\n"


def test_flags_beat_environment_beats_file(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the settings holds through the command line."""
    (tmp_path / "s.toml").write_text('models = ["from-file"]\nlog_level = "error"\nhost = "127.0.0.2"\n')
    monkeypatch.setenv("STREAMER_MODELS", "from-environment")
    options = ("--config", str(tmp_path / "s.toml"), "--bundle-path", str(toys), "--grpc-port", "0", "--http-port", "0")
    with serve(*options, "--model", "counter-asr", "--wyoming-port", "0") as process:
        assert process.stdout is not None
        announced = process.stdout.readline()
        assert "grpc://127.0.0.2:" in announced
        assert "tcp://127.0.0.2:" in announced
    with serve(*options) as process:
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert process.stderr.read().startswith("streamer: unknown bundle 'from-environment'")


def test_server_that_does_not_start(toys: Path) -> None:
    """Whoever starts a server learns why there is none."""
    message = r"^the server ended with status 1: streamer: unknown bundle 'none'"
    with pytest.raises(StreamerError, match=message), running_server(["--model", "none"]):
        pass


def test_ports_are_read_as_written(tmp_path: Path) -> None:
    """The port file is whole or absent, and replaced without a trace."""
    path = tmp_path / "ports.json"
    assert read_ports(path) is None
    for port in (1, 2):
        write_ports(path, "::1", port, port + 1, port + 2)
    ports = read_ports(path)
    assert ports is not None
    assert (ports["host"], ports["grpc_port"], ports["http_port"], ports["wyoming_port"]) == ("::1", 2, 3, 4)
    assert list(tmp_path.iterdir()) == [path]
