"""Several server processes on one port, as processes."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamer.cli.fleet import _until_readable, member_settings
from streamer.client import connect
from streamer.config import EngineSection, Settings
from streamer.session.messages import Config, Result
from tests.cli.conftest import speech, streamer
from tests.cli.test_serve import serve

CONFIG = Config("pcm_f32le", 16000, 1)
PCM = speech(2.0).tobytes()
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> str:
    with _DIRECT.open(url, timeout=10) as answer:
        return answer.read().decode()


def options(toys: Path, tmp_path: Path, *more: str) -> list[str]:
    file = tmp_path / "fleet.toml"
    file.write_text("admin_port = 0\nprocesses = 2\n")
    ports = ("--grpc-port", "0", "--http-port", "0", "--port-file", str(tmp_path / "ports.json"))
    return ["--config", str(file), "--bundle-path", str(toys), "--model", "counter-asr", *ports, *more]


def started(process: subprocess.Popen[str], tmp_path: Path) -> dict[str, int]:
    """Wait for the line that says ready; returns the ports."""
    assert process.stdout is not None
    assert process.stdout.readline().startswith("streamer is ready: ")
    return json.loads((tmp_path / "ports.json").read_text())


async def text_of(url: str) -> str:
    async with connect(url, CONFIG) as stream:
        for start in range(0, len(PCM), 12800):
            await stream.send(PCM[start : start + 12800])
        await stream.end()
        return " ".join([each.text async for each in stream if isinstance(each, Result) and each.is_final])


async def texts(ports: dict[str, int]) -> list[str]:
    grpc, http = f"grpc://127.0.0.1:{ports['grpc_port']}", f"ws://127.0.0.1:{ports['http_port']}"
    return await asyncio.gather(*(text_of(url) for url in [grpc, http] * 4))


def test_processes_share_the_ports_and_are_one_to_operators(toys: Path, tmp_path: Path) -> None:
    """Both transports work whoever takes the connection; metrics and readiness are those of all; SIGTERM ends all."""
    with serve(*options(toys, tmp_path)) as process:
        ports = started(process, tmp_path)
        said = asyncio.run(texts(ports))
        assert len(set(said)) == 1
        assert said[0]
        admin = f"http://127.0.0.1:{ports['admin_port']}"
        assert json.loads(fetch(f"{admin}/readyz")) == {"ready": True, "processes": {"0": True, "1": True}}
        metrics = fetch(f"{admin}/metrics")
        ended = [line for line in metrics.splitlines() if line.startswith('streamer_streams_total{outcome="ok"')]
        assert sum(float(line.split()[-1]) for line in ended) == 8
        assert {line.split('process="')[1][0] for line in ended} <= {"0", "1"}
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=30)
        assert process.returncode == 0
    events = [json.loads(line) for line in logged.splitlines()]
    # The process that watches has no number.
    assert {event.get("process") for event in events if event["event"] == "serving"} == {0, 1, None}
    assert {event.get("process") for event in events if event["event"] == "stream ended"} <= {0, 1}


def test_a_lost_process_is_replaced(toys: Path, tmp_path: Path) -> None:
    """After a SIGKILL of one process another takes its place; streams are served again by as many."""
    with serve(*options(toys, tmp_path)) as process:
        ports = started(process, tmp_path)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        members = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(members) == 2
        os.kill(members[0], signal.SIGKILL)
        assert process.stderr is not None
        while "process lost, starting another" not in (line := process.stderr.readline()):
            assert line
        while '"event": "serving"' not in (line := process.stderr.readline()):
            assert line
        assert len(set(asyncio.run(texts(ports)))) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_processes_that_cannot_start_end_the_server(toys: Path, tmp_path: Path) -> None:
    """A model that is not there is said once per process, and the status is 1."""
    with serve(*options(toys, tmp_path, "--model", "nothing")) as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert errors.count("streamer: unknown bundle 'nothing'") == 2
        assert "streamer: 2 of 2 processes did not start, their messages tell why" in errors


def test_commands_to_all_processes_are_not_open_to_a_network(tmp_path: Path) -> None:
    """Though each process listens to operators on loopback, the port that stands for them must not be open either."""
    settings = tmp_path / "streamer.toml"
    settings.write_text('processes = 2\nadmin_host = "0.0.0.0"\nadmin_port = 0\n')
    result = streamer("serve", "--config", settings)
    assert (result.exit_code, result.stderr) == (
        1,
        "streamer: setting admin_host: expected a loopback address or a key with admin = true, got '0.0.0.0'\n",
    )


def test_a_port_of_another_server_is_not_shared(toys: Path) -> None:
    """Somebody who listens there is an error, even if he would share."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = streamer(
            "serve", "--processes", 2, "--grpc-port", port, "--bundle-path", toys, "--model", "counter-asr"
        )
        assert result.exit_code == 1
        assert f"streamer: cannot bind to 127.0.0.1:{port}: Address already in use" in result.stderr


def test_watching_takes_no_threads() -> None:
    """However many processes are watched, threads are left to ask them for their metrics."""

    async def run() -> None:
        pipes = [multiprocessing.Pipe() for _ in range(3)]
        waiting = [asyncio.create_task(_until_readable(here.fileno())) for here, _ in pipes]
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        assert await asyncio.to_thread(lambda: 7) == 7
        assert not any(task.done() for task in waiting)
        for _, there in pipes:
            there.close()
        await asyncio.gather(*waiting)
        for here, _ in pipes:
            here.close()

    asyncio.run(run())


def test_shares_add_up() -> None:
    """No stream is lost by dividing, every process has a worker, and all sign tickets alike."""
    engine = EngineSection(max_streams=100, memory_budget_mb=1000)
    shares = member_settings(Settings(processes=3, engine=engine, admin_host="::1", admin_port=9000))
    assert len(shares) == 3
    assert {share.engine.max_streams for share in shares} == {34}
    assert {share.engine.memory_budget_mb for share in shares} == {333}
    assert all(share.engine.workers and share.engine.workers >= 1 for share in shares)
    assert {(share.admin_host, share.admin_port, share.access.metrics) for share in shares} == {
        ("127.0.0.1", 0, "admin_port")
    }
    assert len({share.access.ticket_secret for share in shares}) == 1
    assert len({share.resume.secret for share in shares}) == 1
    assert shares[0].resume.secret is not None


@pytest.mark.parametrize("count", [0, 257])
def test_the_number_of_processes_is_bounded(count: int) -> None:
    """Neither none nor a fork bomb."""
    result = streamer("serve", "--processes", count)
    assert result.exit_code == 1
    assert "setting processes: input should be " in result.stderr
