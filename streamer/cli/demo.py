"""`streamer demo`: a server, one clip over both transports at the pace of speech, then the same clip in batch."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import BundlePath, ConfigFile

if TYPE_CHECKING:
    from streamer.cli.clips import Clip
    from streamer.session.messages import Result


def demo(
    path: Annotated[Path | None, typer.Argument(help="Audio to stream; default a clip of this checkout.")] = None,
    model: Annotated[str, typer.Option(help="NAME or NAME@VERSION; default that of the settings.")] = "",
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
) -> None:
    """Show all of it: serve, stream a clip live over gRPC and WebSocket, transcribe it in batch, compare, stop.

    Status 1 if the texts differ, if there are none, or if the server does not leave cleanly.
    """
    from streamer.cli.clips import read_clip, sample_clips
    from streamer.cli.server_process import running_server

    path = path or sample_clips()[0]
    clip = read_clip(path)
    arguments = _arguments(model, config, bundle_path)
    _say(f"starting a server: streamer serve {' '.join(arguments)}".rstrip())
    began = time.monotonic()
    with running_server(arguments) as server:
        _say(f"ready after {time.monotonic() - began:.1f} s at {server.grpc} and {server.websocket}")
        live = {address: _stream(address, clip) for address in (server.grpc, server.websocket)}
        batch = _transcribe(path, arguments)
        status = server.stop()
    _say(f"server left with status {status} after SIGTERM" + ("" if status == 0 else ", expected 0"))
    same = _compare(live, batch)
    if not same or status != 0:
        raise typer.Exit(1)


def _arguments(model: str, config: Path | None, bundle_path: list[Path] | None) -> list[str]:
    """Options that `serve` and `transcribe` share."""
    arguments = ["--config", str(config)] if config else []
    for folder in bundle_path or []:
        arguments += ["--bundle-path", str(folder)]
    return [*arguments, "--model", model] if model else arguments


def _stream(address: str, clip: Clip) -> str:
    """Stream the clip at the pace of speech, showing what comes; returns the text of its finals."""
    import asyncio

    _say(f"\nstreaming {clip.name} ({clip.duration_s:.1f} s) live over {address}")
    return asyncio.run(_play(address, clip, _Screen(clip.rate, sys.stdout.isatty())))


async def _play(address: str, clip: Clip, screen: _Screen) -> str:
    import asyncio

    from streamer.cli.lag import LagMeter
    from streamer.client import connect
    from streamer.session.messages import Config, Flow, Result

    clock = asyncio.get_running_loop().time
    texts = []
    async with connect(address, Config(clip.encoding, clip.rate, clip.channels)) as stream:
        meter = LagMeter(stream.ready)
        screen.ready(stream.ready.model, stream.ready.chunk_ms, stream.ready.delay_ms)
        sender = asyncio.create_task(_send(stream, clip, meter))
        try:
            async for message in stream:
                lag_s = meter.received(message, clock())
                if isinstance(message, Result):
                    screen.result(message, lag_s)
                    texts += [message.text] if message.is_final else []
                elif isinstance(message, Flow):
                    screen.server_lag(message.lag_ms)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
    screen.close()
    return " ".join(texts)


async def _send(stream: Any, clip: Clip, meter: Any, frame_ms: float = 40.0) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    began = loop.time()
    size = clip.sample_bytes * max(1, round(clip.rate * frame_ms / 1000))
    for start in range(0, len(clip.pcm), size):
        data = clip.pcm[start : start + size]
        # A frame leaves when a microphone would have its last sample.
        due = began + (start + len(data)) / clip.sample_bytes / clip.rate
        await asyncio.sleep(max(0.0, due - loop.time()))
        meter.sent(len(data) // clip.sample_bytes, loop.time())
        await stream.send(data)
    await stream.end()


class _Screen:
    """Shows interim text in one line that is written over on a terminal, elsewhere a line per change."""

    def __init__(self, rate: int, is_terminal: bool) -> None:
        self._rate = rate
        self._is_terminal = is_terminal
        self._lags_ms: list[float] = []
        self._server_lags_ms: list[float] = []

    def ready(self, model: str, chunk_ms: float, delay_ms: float) -> None:
        _say(f"  {model}, a step every {chunk_ms:g} ms, algorithmic delay {delay_ms:g} ms")

    def server_lag(self, lag_ms: float) -> None:
        self._server_lags_ms.append(lag_ms)

    def result(self, result: Result, lag_s: float | None) -> None:
        if lag_s is not None:
            self._lags_ms.append(1000 * lag_s)
        if result.is_final:
            self._final(result)
            return
        lag = f"{1000 * lag_s:4.0f} ms" if lag_s is not None else "   -   "
        line = f"  {self._time(result.end_sample)}  lag {lag}  {result.text}"
        if self._is_terminal:
            self._erase()
            typer.echo(_clipped(line), nl=False)
        else:
            _say(line)

    def _final(self, result: Result) -> None:
        if self._is_terminal:
            self._erase()
        _say(f"  {self._time(result.start_sample)} to {self._time(result.end_sample)}  final: {result.text}")
        for word in result.words:
            times = f"{self._time(word.start_sample)} to {self._time(word.end_sample)}"
            _say(f"      {times}  {word.confidence:4.2f}  {word.word}")

    def close(self) -> None:
        if self._is_terminal:
            self._erase()
        _say(f"  lag of interim text: {_range(self._lags_ms)}; within the server: {_range(self._server_lags_ms)}")

    def _erase(self) -> None:
        """Go back to an empty line (ECMA-48, erase in line)."""
        typer.echo("\r\x1b[K", nl=False, color=True)

    def _time(self, sample: int) -> str:
        return f"{sample / self._rate:6.2f} s"


def _clipped(line: str) -> str:
    """The end of a line that a terminal would wrap, since only one line can be written over."""
    import shutil

    width = shutil.get_terminal_size().columns - 1
    return line if len(line) <= width else f"...{line[3 - width :]}"


def _range(values: list[float]) -> str:
    if not values:
        return "not measured"
    return f"median {sorted(values)[len(values) // 2]:.0f} ms, at most {max(values):.0f} ms"


def _transcribe(path: Path, arguments: list[str]) -> str:
    """Run `streamer transcribe` on the same file, as anybody would."""
    import json
    import subprocess

    from streamer.errors import StreamerError

    _say(f"\nin batch: streamer transcribe {path.name} {' '.join(arguments)}".rstrip())
    command = [sys.executable, "-m", "streamer.cli.main", "transcribe", str(path), "--format", "json", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise StreamerError(f"streamer transcribe ended with status {found.returncode}: {found.stderr.strip()}")
    text = json.loads(found.stdout)["text"]
    _say(f"  {text}\n  {found.stderr.strip()}\n")
    return str(text)


def _compare(live: dict[str, str], batch: str) -> bool:
    for address, text in live.items():
        if text != batch:
            _say(f"the text differs over {address}: expected {batch!r}, got {text!r}")
            return False
    if not batch:
        # Nothing equals nothing: that would prove nothing.
        _say("no words were recognised, expected some")
        return False
    _say("batch text equals live text over both transports")
    return True


def _say(line: str) -> None:
    typer.echo(line)
    # Interim text is for reading while it comes, through pipes too.
    sys.stdout.flush()
