"""The beam search of a stream, its program on a real runner: alone, in company, interrupted, cut by length."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamer.bundle.loader import load_bundle
from streamer.engine.programs import run_program
from streamer.engine.runner import Runner
from streamer.tasks.base import Task, Transcript
from streamer.tasks.decoding import Decoding, Hotword
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from streamer.work import Lease, Row
from tests.engine.support import make_dirty, runner_of
from tests.toys import write_vowels
from tests.toys.vowels import CHUNK, FRAME

OPTIONS = [
    Decoding("beam", 4),
    Decoding("beam", 1),
    Decoding("beam", 8, n_best=3),
    Decoding(hotwords=(Hotword("e u", 1.0), Hotword("o a e"))),
    Decoding("beam", 4),
]
RULES = Endpointing(silence_after_speech_s=0.05, silence_without_speech_s=1.0, max_segment_s=0.3)


class Bundle:
    """The toy with its runner, program and task maker."""

    def __init__(self, folder: Path) -> None:
        self.bundle = load_bundle(write_vowels(folder))
        self.runner: Runner = runner_of(self.bundle)
        make_dirty(self.runner)
        self.program = program_of(self.bundle.manifest, self.bundle.folder)
        self.make_task = task_maker(self.bundle.manifest, self.bundle.folder)

    def step(self, tasks: dict[int, Task], chunks: dict[int, np.ndarray]) -> dict[int, list[Transcript]]:
        """Run one chunk of some streams, by slot, in one batch."""
        rows = []
        for slot, chunk in chunks.items():
            step = tasks[slot].step(chunk)
            assert step.target == "beam_search"
            rows.append(Row((Lease(self.bundle.key, "stream", slot, 1),), step.inputs, step.start))
        assert self.program is not None
        results = run_program("beam_search", self.program, self.runner, rows)
        assert all(result.error is None for result in results)
        return {slot: list(tasks[slot].complete(result.outputs)) for slot, result in zip(chunks, results, strict=True)}


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def speech(seed: int, chunks: int = 60) -> np.ndarray:
    """Chunks f32[n, CHUNK] of vowels and pauses."""
    rng = np.random.default_rng(seed)
    levels = rng.choice([0.0, 0.0, 0.1, 0.2], chunks * CHUNK // FRAME)
    levels[chunks : chunks + 20] = 0.0
    return np.repeat(levels, FRAME).astype(np.float32).reshape(-1, CHUNK)


def alone(toy: Bundle, options: Decoding, chunks: np.ndarray, slot: int = 5) -> list[Transcript]:
    tasks = {slot: toy.make_task(TaskOptions(RULES, options))}
    said = [transcript for chunk in chunks for transcript in toy.step(tasks, {slot: chunk})[slot]]
    return [*said, *tasks[slot].finish_segment()]


def test_company_changes_nothing(toy: Bundle) -> None:
    """Streams of other widths and hotwords in the same batch, in any order, leave every result as it is alone."""
    rng = np.random.default_rng(0)
    inputs = [speech(seed) for seed in range(len(OPTIONS))]
    expected = [alone(toy, options, chunks) for options, chunks in zip(OPTIONS, inputs, strict=True)]
    tasks = {slot: toy.make_task(TaskOptions(RULES, options)) for slot, options in enumerate(OPTIONS)}
    said: dict[int, list[Transcript]] = {slot: [] for slot in tasks}
    places = dict.fromkeys(tasks, 0)
    while any(place < len(inputs[slot]) for slot, place in places.items()):
        batch = [slot for slot in tasks if places[slot] < len(inputs[slot]) and rng.random() < 0.6]
        rng.shuffle(batch)
        if batch:
            for slot, news in toy.step(tasks, {slot: inputs[slot][places[slot]] for slot in batch}).items():
                said[slot] += news
                places[slot] += 1
    for slot, task in tasks.items():
        assert [*said[slot], *task.finish_segment()] == expected[slot]
    assert len({transcript.text for transcript in expected[0] if transcript.is_final}) > 2


def test_a_search_survives_json(toy: Bundle) -> None:
    """A task that is written down and restored after every chunk says what one that is not says."""
    chunks, options = speech(7), OPTIONS[3]
    tasks, said = {2: toy.make_task(TaskOptions(RULES, options))}, []
    for chunk in chunks:
        said += toy.step(tasks, {2: chunk})[2]
        plain = json.loads(json.dumps(tasks[2].state(), allow_nan=False))
        tasks = {2: toy.make_task(TaskOptions(RULES, options))}
        tasks[2].restore(plain)
    assert [*said, *tasks[2].finish_segment()] == alone(toy, options, chunks)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_stable_or_final_stays(toy: Bundle, seed: int) -> None:
    """Stable characters keep their place until the final, and finals come in order, cut by silence or length."""
    stable: dict[int, str] = {}
    finals = []
    for transcript in alone(toy, OPTIONS[2], speech(seed + 10, 120)):
        known = stable.get(transcript.segment_id, "")
        # A segment that is cut for its length hands its last word on, which no interim called stable.
        assert transcript.text.startswith(known)
        stable[transcript.segment_id] = transcript.text[: transcript.stable_chars]
        if transcript.is_final:
            finals.append(transcript.segment_id)
            assert all(word.start_sample <= word.end_sample for word in transcript.words)
    assert finals == list(range(len(finals)))
    assert len(finals) > 3


def test_a_fault_of_one_row_is_that_row_s_alone(toy: Bundle) -> None:
    """A stream whose encoder returns no finite number faults; its neighbour in the batch does not notice."""
    tasks = {slot: toy.make_task(TaskOptions(RULES, OPTIONS[0])) for slot in (0, 1)}
    good, bad = speech(3)[0], np.full(CHUNK, np.nan, np.float32)
    rows = [
        Row((Lease(toy.bundle.key, "stream", slot, 1),), tasks[slot].step(chunk).inputs, tasks[slot].step(chunk).start)
        for slot, chunk in ((0, bad), (1, good))
    ]
    assert toy.program is not None
    faulted, fine = run_program("beam_search", toy.program, toy.runner, rows)
    assert faulted.error is not None
    assert fine.error is None
    np.testing.assert_array_equal(
        run_program("beam_search", toy.program, toy.runner, rows[1:])[0].outputs["totals"], fine.outputs["totals"]
    )
