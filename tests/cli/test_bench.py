"""Bench and demo against servers of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.cli.server_process import running_server
from tests.cli.conftest import streamer, write_audio


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Little enough speech that the toy's results stay short."""
    return write_audio(tmp_path / "clip.wav", 2.0)


@pytest.mark.parametrize("transport", ["grpc", "ws"])
def test_bench_of_a_spawned_server(clip: Path, serving: list[str], transport: str, tmp_path: Path) -> None:
    """Every figure is there, and they agree with what was played."""
    out = tmp_path / "bench.json"
    result = streamer(
        *("bench", "--spawn", "--transport", transport, "--streams", 3, "--duration", 2, "--ramp", 0.2),
        *("--finalize-every", 0.8, "--audio", clip, "--json", out, *serving),
    )
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["streams"] == {"asked": 3, "completed": 3, "refused": {}, "failed": {}}
    assert found["audio_s"] == 6.0
    assert found["interim_results"] > 0
    for name in ("lag_ms", "server_lag_ms", "finalisation_ms", "first_result_ms"):
        assert 0 <= found[name]["p50"] <= found[name]["p95"] <= found[name]["p99"] <= found[name]["max"]
    assert found["real_time_factor"] >= 1
    assert found["server_cpu_s"] > 0
    assert 0 < found["server_rss_mb"] <= found["server_peak_rss_mb"]
    assert "lag_ms" in result.stdout


def test_refused_streams_are_counted(clip: Path, toys: Path, serving: list[str], tmp_path: Path) -> None:
    """A server with one slot serves one stream and refuses the others; that is a figure, no failure."""
    out = tmp_path / "bench.json"
    options = ("--streams", 3, "--duration", 1, "--ramp", 0, "--audio", clip, "--json", out)
    with running_server([*serving, "--max-streams", "1", "--log-level", "warning"]) as server:
        result = streamer("bench", "--address", server.grpc, "--server-pid", server.pid, *options)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["streams"] == {"asked": 3, "completed": 1, "refused": {"overloaded": 2}, "failed": {}}
    assert found["server_cpu_s"] is not None


def test_failed_streams_fail_the_bench(clip: Path, serving: list[str]) -> None:
    """A model that the server lacks fails every stream, with status 1."""
    with running_server([*serving, "--log-level", "warning"]) as server:
        options = ("--address", server.websocket, "--model", "none", "--audio", clip)
        result = streamer("bench", *options, "--streams", 2, "--duration", 0.2)
    assert result.exit_code == 1
    assert "unknown model 'none'" in " ".join(result.stdout.replace("│", " ").split())


@pytest.mark.parametrize("options", [(), ("--spawn", "--address", "grpc://localhost:1")])
def test_bench_needs_one_server(clip: Path, options: tuple[str, ...]) -> None:
    """Which server is measured is never guessed."""
    result = streamer("bench", "--audio", clip, *options)
    assert result.exit_code == 2
    assert "expected one of --spawn and --address" in result.stderr


def test_bench_without_a_server(clip: Path) -> None:
    """Nobody there is one line."""
    result = streamer("bench", "--audio", clip, "--address", "ws://127.0.0.1:1", "--streams", 1, "--duration", 0.1)
    assert result.exit_code == 1
    assert result.stderr.startswith("streamer: no server at ws://127.0.0.1:1: ")


def test_demo(clip: Path, serving: list[str]) -> None:
    """The demo streams over both transports, transcribes in batch, compares and stops the server."""
    result = streamer("demo", clip, *serving)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert sum(line.startswith("streaming clip.wav (2.0 s) live over ") for line in lines) == 2
    assert sum("final: " in line for line in lines) == 2
    assert sum(line.startswith("  lag of interim text: median ") for line in lines) == 2
    assert lines[-2:] == [
        "server left with status 0 after SIGTERM",
        "batch text equals live text over both transports",
    ]
