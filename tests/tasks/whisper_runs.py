"""Runs tasks over the toy: many streams in one batch, their finals, interims and states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamer.engine.programs import run_program
from streamer.tasks.base import Task, Transcript
from streamer.tasks.decoding import Decoding
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from streamer.work import Array, Lease, Result, Row
from tests.tasks import whisper_toy as toy

RULES = Endpointing()
GREEDY = Decoding()
BEAM = Decoding("beam", 3)


class Served:
    """The toy's bundle, its program, and what makes tasks."""

    def __init__(self, folder: Path, late: int = 2, sure: int = 0, **parameters: Any) -> None:
        self.bundle = toy.bundle(folder, **parameters)
        self.model = toy.Toy(self.bundle, late, sure)
        self.program = program_of(self.bundle.manifest, folder)
        self.make_task = task_maker(self.bundle.manifest, folder)

    def run(self, tasks: dict[int, Task], chunks: dict[int, Array]) -> dict[int, Result]:
        """Run one chunk of some streams, by slot, in one batch."""
        rows = []
        for slot, chunk in chunks.items():
            step = tasks[slot].step(chunk)
            assert step.target == "whisper"
            rows.append(Row((Lease(self.bundle.key, "stream", slot, 1),), step.inputs, step.start))
        assert self.program is not None
        results = run_program("whisper", self.program, self.model, rows)  # type: ignore[arg-type]
        return dict(zip(chunks, results, strict=True))

    def step(self, tasks: dict[int, Task], chunks: dict[int, Array], is_padded: bool = False) -> dict[int, list[Any]]:
        """Run one chunk of some streams and let the tasks speak."""
        results = self.run(tasks, chunks)
        assert [result.error for result in results.values()] == [None] * len(results)
        return {slot: list(tasks[slot].complete(result.outputs, is_padded)) for slot, result in results.items()}

    def task(self, rules: Endpointing = RULES, decoding: Decoding = GREEDY, **options: Any) -> Task:
        return self.make_task(TaskOptions(rules, decoding, **options))

    def transcribe(self, audio: Array, task: Task | None = None, slot: int = 3) -> list[Transcript]:
        """All that a stream of its own says, to its end."""
        task = self.task() if task is None else task
        tasks, said = {slot: task}, []
        for chunk in chunks_of(task, audio):
            said += self.step(tasks, {slot: chunk})[slot]
        for chunk in padding_of(task, audio):
            said += self.step(tasks, {slot: chunk}, is_padded=True)[slot]
        return [*said, *task.finish_segment()]


def _cut(task: Task, audio: Array) -> list[Array]:
    padded = np.concatenate([audio, np.zeros(task.flush_samples + 2 * task.hop_samples, np.float32)])
    count = -(-(len(audio) + task.flush_samples - task.chunk_samples) // task.hop_samples) + 1
    return [
        padded[begin : begin + task.chunk_samples] for begin in range(0, count * task.hop_samples, task.hop_samples)
    ]


def chunks_of(task: Task, audio: Array) -> list[Array]:
    """The chunks that hold nothing but audio."""
    whole = (len(audio) - task.chunk_samples) // task.hop_samples + 1
    return _cut(task, audio)[: max(0, whole)]


def padding_of(task: Task, audio: Array) -> list[Array]:
    """The chunks that end in the silence of the end of stream."""
    return _cut(task, audio)[len(chunks_of(task, audio)) :]


def finals(said: Sequence[Any]) -> list[Transcript]:
    return [each for each in said if each.is_final]


def text(said: Sequence[Any]) -> str:
    """All that was said for good."""
    return " ".join(each.text for each in finals(said))
