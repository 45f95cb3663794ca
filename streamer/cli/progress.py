"""How far a batch is, on standard error, and how fast it went."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import typer


class BatchProgress:
    """A bar over the seconds of audio, if `visible`; counts what is needed for the closing line anyway.

    `noun` is what an input is called.
    """

    def __init__(self, n_inputs: int, visible: bool, noun: str = "file") -> None:
        self._n_inputs = n_inputs
        self._noun = noun
        self._began = time.monotonic()
        self._audio_s = 0.0
        self._known_s = 0.0
        self._n_done = 0
        self._bar: Any = None
        if visible:
            self._bar, self._task = _bar(n_inputs, noun)

    def __enter__(self) -> BatchProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def opened(self, duration_s: float | None) -> None:
        """An input of this length was opened."""
        self._known_s += duration_s or 0.0
        self._show()

    def fed(self, audio_s: float) -> None:
        """So much more audio was handed to the model."""
        self._audio_s += audio_s
        self._show()

    def finished(self) -> None:
        """An input is done, or failed."""
        self._n_done += 1
        self._show()

    def summary(self, n_failed: int) -> str:
        """Return the closing line: files, audio, time and real-time factor (time per audio, below 1 is faster)."""
        wall_s = time.monotonic() - self._began
        files = f"{self._n_inputs} {self._noun}{'s' if self._n_inputs != 1 else ''}"
        failed = f", {n_failed} failed" if n_failed else ""
        return f"{files}{failed}: {self._audio_s:.1f} s of audio in {wall_s:.1f} s, {self._speed(wall_s)}"

    def _speed(self, wall_s: float) -> str:
        if not self._audio_s:
            return "no audio"
        return f"real-time factor {wall_s / self._audio_s:.3f} ({self._audio_s / wall_s:.1f}x real time)"

    def _show(self) -> None:
        if self._bar is None:
            return
        # Until all are opened the rest is guessed to be as long as those that are.
        opened = max(1, self._n_done)
        total = max(self._known_s, self._known_s / opened * self._n_inputs, self._audio_s)
        speed = self._speed(time.monotonic() - self._began)
        self._bar.update(
            self._task,
            completed=self._audio_s,
            total=total or None,
            files=f"{self._n_done}/{self._n_inputs}",
            speed=speed,
        )


def _bar(n_inputs: int, noun: str) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    texts = (f"{{task.fields[files]}} {noun}s", "{task.fields[speed]}")
    bar = Progress(
        BarColumn(),
        *(TextColumn(text) for text in texts),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        # rich would send our standard output through the bar's console, which is standard error.
        redirect_stdout=sys.stdout.isatty(),
    )
    return bar, bar.add_task("", total=None, files=f"0/{n_inputs}", speed="")


def complain(item: str, reason: str) -> None:
    """Say in one line on standard error why an input failed."""
    typer.echo(f"streamer: {item}: {reason}", err=True)
