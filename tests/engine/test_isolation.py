"""A stream's output does not depend on who shares its batch, its slot's past or its neighbours' faults."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.engine.execution import Mode
from streamer.engine.worker import Worker
from streamer.work import Priority
from tests.engine.conftest import Toys
from tests.engine.support import CounterStream, loud_audio, make_dirty, runner_of
from tests.toys import counter_expected, write_counter_asr

COUNTER = "counter-asr@1.0.0"
STREAMS = 32


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("seed", range(3))
def test_interleaved_streams_are_each_as_if_alone(toy: Toys, mode: Mode, seed: int) -> None:
    """32 streams come and go over 6 dirty slots in padded batches of any size, live and file mixed."""
    rng = np.random.default_rng(seed)
    runner = runner_of(toy(write_counter_asr), mode, slots=6, max_batch=5)
    make_dirty(runner, seed)
    worker = Worker(0, [runner])
    audio = [loud_audio(rng, int(rng.integers(3, 15))) for _ in range(STREAMS)]
    finished = _serve(worker, audio, rng)
    for pcm, stream in zip(audio, finished, strict=True):
        assert np.array_equal(stream.ids, counter_expected(pcm))
    assert worker.free_slots(COUNTER) == 6


def _serve(worker: Worker, audio: list[np.ndarray], rng: np.random.Generator) -> list[CounterStream]:
    """Start streams as slots come free; each waits a random while before each chunk."""
    streams: list[CounterStream] = []
    while len(streams) < len(audio) or not all(stream.done for stream in streams):
        if len(streams) < len(audio) and worker.free_slots(COUNTER) and rng.random() < 0.7:
            priority = Priority(int(rng.integers(2)))
            streams.append(CounterStream(worker, COUNTER, audio[len(streams)], priority))
        for stream in streams:
            if not stream.done and not stream.waiting and rng.random() < 0.5:
                stream.advance()
        worker.run_once()
    return streams


def test_a_faulty_neighbour_changes_nothing(toy: Toys) -> None:
    """A stream whose input is unfit ends alone, in the middle of everyone's batches."""
    rng = np.random.default_rng(9)
    runner = runner_of(toy(write_counter_asr))
    make_dirty(runner)
    worker = Worker(0, [runner])
    audio = [loud_audio(rng, 8) for _ in range(4)]
    streams = [CounterStream(worker, COUNTER, pcm) for pcm in audio]
    streams[2].chunks = streams[2].chunks.astype(np.float64)
    while not all(stream.done for stream in streams):
        for stream in streams:
            if not stream.done and not stream.waiting:
                stream.advance()
        worker.run_once()
    assert [len(stream.errors) for stream in streams] == [0, 0, 1, 0]
    for index in (0, 1, 3):
        assert np.array_equal(streams[index].ids, counter_expected(audio[index]))


def test_a_snapshot_in_the_middle_changes_nothing(toy: Toys) -> None:
    """A stream that is moved to another slot at every step has the tokens of one that never moved."""
    pcm = loud_audio(np.random.default_rng(5), 12)
    runner = runner_of(toy(write_counter_asr))
    make_dirty(runner)
    worker = Worker(0, [runner])
    stream = CounterStream(worker, COUNTER, pcm)
    while not stream.done:
        stream.advance()
        worker.run_once()
        if not stream.done:
            _move(worker, stream)
    assert np.array_equal(stream.ids, counter_expected(pcm))


def _move(worker: Worker, stream: CounterStream) -> None:
    old, stream.lease = stream.lease, worker.lease(COUNTER, "stream")
    worker.restore([stream.lease], worker.snapshot([old]))
    worker.release(old)
