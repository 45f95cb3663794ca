"""The program of voices: which calls it makes, how long symbols last, and what becomes of rows that fault."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import ModelFault
from streamer.session.messages import End
from streamer.tasks.voice_program import MOST_FRAMES_PER_SYMBOL, durations
from streamer.work import Result, Row
from tests.session.speech_driver import FILE, SpeechBench
from tests.toys.voice import BANDS


class Spied:
    """A runner that notes its calls, and may spoil what one graph returns for one slot."""

    def __init__(self, bench: SpeechBench) -> None:
        self.bundle = bench.bundle
        self.calls: list[tuple[str, int]] = []
        self.spoiled: tuple[str, int, Result] | None = None
        self._runner = bench.runner

    def run(self, graph: str, rows: Sequence[Row]) -> list[Result]:
        self.calls.append((graph, len(rows)))
        results = self._runner.run(graph, rows)
        if self.spoiled is not None and self.spoiled[0] == graph:
            slots = [row.leases[0].slot for row in rows]
            if self.spoiled[1] in slots:
                results[slots.index(self.spoiled[1])] = self.spoiled[2]
        return results


@pytest.fixture
def bench(tmp_path: Path) -> SpeechBench:
    return SpeechBench(tmp_path)


def test_one_call_of_each_graph(bench: SpeechBench) -> None:
    """A new piece is spelled, encoded, expanded and begun in one step; later steps make frames alone."""
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    streams = [bench.open(FILE, slot) for slot in range(3)]
    for stream, text in zip(streams, ("Hello zork, blat. One", "Good morning. Two", "Frob frob. Three"), strict=True):
        stream.send(text)
    bench.step(*streams)
    assert spied.calls == [("spell", 3), ("text_encode", 3), ("expand", 3), ("flow_step", 3), ("vocoder_step", 3)]
    spied.calls.clear()
    bench.step(*streams)
    assert spied.calls == [("flow_step", 3), ("vocoder_step", 3)]


FAULT = Result(error=ModelFault("bundle voice@1.0.0: graph: inference failed"))
SPOILED = {
    "spelling": ("spell", FAULT),
    "encoder": ("text_encode", FAULT),
    "expansion": ("expand", FAULT),
    "flow": ("flow_step", FAULT),
    "vocoder": ("vocoder_step", FAULT),
    "too few frames": ("expand", Result({"prior": np.zeros((3, BANDS), np.float32)})),
    "no audio": ("vocoder_step", Result({"pcm": np.zeros((0, 160), np.float32)})),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_fault_is_its_own_streams(bench: SpeechBench, name: str) -> None:
    """Whatever a graph does to one row, only its stream ends, and the others say what they would have said."""
    alone = bench.whole(FILE, "Good zork. Morning").pcm
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    streams = [bench.open(FILE, slot) for slot in range(3)]
    for stream in streams:
        stream.send("Good zork. Morning")
        stream.send(End())
    spied.spoiled = (SPOILED[name][0], 1, SPOILED[name][1])
    bench.run(*streams)
    assert isinstance(streams[1].session.error, ModelFault)
    assert streams[0].pcm == streams[2].pcm == alone


def test_sounds_that_there_are_not_are_left_out(bench: SpeechBench) -> None:
    """Numbers beyond the symbols never reach the encoder; a word without any sound is spoken letter by letter."""
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    spied.spoiled = ("spell", 0, Result({"sounds": np.full(16, 9999)}))
    stream = bench.whole(FILE, "Zork.")
    assert stream.session.error is None
    assert len(stream.samples)


def test_durations() -> None:
    """Rounded from the exponent by the speed, none below half a frame, one at least otherwise, and not endless."""
    logs = np.log(np.array([0.4, 0.51, 1.0, 2.4, 2.6, 7.1, 90.0])).astype(np.float32)
    assert durations(logs, 1.0).tolist() == [0, 1, 1, 2, 3, 7, 90]
    assert durations(logs, 2.0).tolist() == [0, 1, 1, 1, 1, 4, 45]
    assert durations(logs, 0.5).tolist() == [0, 1, 2, 5, 5, 14, MOST_FRAMES_PER_SYMBOL]
    assert durations(np.array([-1e30, 1e30], np.float32), 1.0).tolist() == [0, MOST_FRAMES_PER_SYMBOL]
