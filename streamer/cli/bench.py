"""`streamer bench`: figures of a server under live load."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import BundlePath, ConfigFile, Workers
from streamer.errors import InvalidRequest

if TYPE_CHECKING:
    from streamer.cli.load import Load, StreamFigures

Report = dict[str, Any]


def bench(
    streams: Annotated[int, typer.Option(min=1, help="Streams at the same time.")] = 10,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds of audio of each stream.")] = 30.0,
    frame_ms: Annotated[float, typer.Option(min=1, help="Audio in each message.")] = 40.0,
    ramp: Annotated[float, typer.Option(min=0, help="Streams begin at random within so many seconds.")] = 1.0,
    finalize_every: Annotated[
        float | None, typer.Option(min=0.1, help="Ask for finals this often, in seconds.", show_default=False)
    ] = None,
    audio: Annotated[
        list[Path] | None, typer.Option(help="What to play; default the clips of this checkout. Repeatable.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="grpc://HOST:PORT or ws://HOST:PORT of a running server.", show_default=False)
    ] = None,
    spawn: Annotated[bool, typer.Option("--spawn", help="Start a server for the run, on free ports.")] = False,
    transport: Annotated[str, typer.Option(help="grpc or ws, with --spawn.")] = "grpc",
    server_pid: Annotated[
        int | None, typer.Option(help="Process whose CPU time and memory are those of the server.", show_default=False)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here too.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random starts.")] = 0,
    model: Annotated[str, typer.Option(help="NAME or NAME@VERSION; default the server's.")] = "",
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
    workers: Workers = None,
) -> None:
    """Open many live streams at the pace of speech and print lag, finalisation delay, CPU time and memory.

    Lag is from sending the last sample that an interim result needs to receiving it, the algorithmic delay of the
    model aside. Finalisation delay is from sending End or Finalize to its answer. Status 1 if any stream fails.
    """
    from streamer.cli.clips import read_clip, sample_clips
    from streamer.cli.load import Load

    if transport not in ("grpc", "ws"):
        raise typer.BadParameter(f"--transport: expected grpc or ws, got {transport}")
    clips = tuple(read_clip(path) for path in audio or sample_clips())
    server_arguments = _server_arguments(config, bundle_path, workers, model)
    with _server(address, spawn, transport, server_arguments) as (found, pid):
        load = Load(found, clips, streams, duration, frame_ms, ramp, model, finalize_every, seed)
        report = _measure(load, server_pid or pid)
    _show(report)
    if json_file is not None:
        _write(json_file, report)
    if report["streams"]["failed"] or not report["streams"]["completed"]:
        raise typer.Exit(1)


def _server_arguments(
    config: Path | None, bundle_path: list[Path] | None, workers: int | None, model: str
) -> list[str]:
    arguments = ["--log-level", "warning"]
    for option, values in (
        ("--config", [config] if config else []),
        ("--bundle-path", bundle_path or []),
        ("--workers", [workers] if workers else []),
        ("--model", [model] if model else []),
    ):
        for value in values:
            arguments += [option, str(value)]
    return arguments


@contextmanager
def _server(address: str | None, spawn: bool, transport: str, arguments: list[str]) -> Iterator[tuple[str, int | None]]:
    """The address of the server to measure, and its process if it is ours."""
    if spawn == (address is not None):
        raise typer.BadParameter("expected one of --spawn and --address")
    if address is not None:
        yield address, None
        return
    from streamer.cli.server_process import running_server

    with running_server(arguments) as server:
        yield (server.grpc if transport == "grpc" else server.websocket), server.pid


def _measure(load: Load, pid: int | None) -> Report:
    import asyncio

    from streamer.cli.load import play_load
    from streamer.cli.process_stats import cpu_seconds, memory_mb

    cpu_before, own_before, began = cpu_seconds(pid) if pid else None, time.process_time(), time.monotonic()
    figures = asyncio.run(play_load(load))
    wall_s, own_s = time.monotonic() - began, time.process_time() - own_before
    cpu_after = cpu_seconds(pid) if pid else None
    cpu_s = cpu_after - cpu_before if cpu_before is not None and cpu_after is not None else None
    memory = memory_mb(pid) if pid else None
    return {
        "address": load.address,
        "frame_ms": load.frame_ms,
        "duration_s": load.duration_s,
        "streams": _counts(load, figures),
        **_delays(figures),
        **_rates(figures, wall_s, cpu_s),
        "server_rss_mb": round(memory[0], 1) if memory else None,
        "server_peak_rss_mb": round(memory[1], 1) if memory else None,
        "generator_cpu_s": round(own_s, 2),
    }


def _counts(load: Load, figures: Sequence[StreamFigures]) -> Report:
    return {
        "asked": load.streams,
        "completed": sum(each.wall_s > 0 and each.failed is None for each in figures),
        "refused": dict(Counter(each.refused for each in figures if each.refused)),
        "failed": dict(Counter(each.failed for each in figures if each.failed)),
    }


def _delays(figures: Sequence[StreamFigures]) -> Report:
    from streamer.cli.load import percentiles_ms

    return {
        "lag_ms": percentiles_ms([lag for each in figures for lag in each.lags_s]),
        "server_lag_ms": percentiles_ms([lag for each in figures for lag in each.server_lags_s]),
        "finalisation_ms": percentiles_ms([delay for each in figures for delay in each.finalisations_s]),
        "first_result_ms": percentiles_ms([each.first_result_s for each in figures if each.first_result_s is not None]),
        "interim_results": sum(len(each.lags_s) for each in figures),
    }


def _rates(figures: Sequence[StreamFigures], wall_s: float, cpu_s: float | None) -> Report:
    done = [each for each in figures if each.audio_s]
    audio_s = sum(each.audio_s for each in done)
    return {
        "audio_s": round(audio_s, 1),
        "wall_s": round(wall_s, 1),
        # Of a stream: first frame to `Done`, per audio; 1 when the server keeps up.
        "real_time_factor": round(sum(each.wall_s for each in done) / audio_s, 4) if audio_s else None,
        "server_cpu_s": round(cpu_s, 2) if cpu_s is not None else None,
        "server_cpu_s_per_audio_s": round(cpu_s / audio_s, 5) if cpu_s is not None and audio_s else None,
    }


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['streams']['asked']} live streams at {report['address']}", show_header=False)
    for name, value in report.items():
        if name != "address":
            table.add_row(name, _shown(value))
    Console().print(table)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {_shown(each)}" for key, each in value.items()) or "none"
    return "not known" if value is None else str(value)


def _write(path: Path, report: Report) -> None:
    import json

    try:
        path.write_text(json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {(error.strerror or 'failed').lower()}") from None
