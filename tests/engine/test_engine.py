"""The engine: capacity over workers, choice of a worker, start and stop."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from structlog.testing import capture_logs

from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.engine.worker import Worker
from streamer.errors import Overloaded, UnknownBundle
from streamer.work import Result, Row, Step
from tests.engine.conftest import Toys
from tests.engine.support import BOTH, CHUNK, loud_audio
from tests.toys import counter_expected, write_counter_asr, write_variants, write_wrong_order

COUNTER = "counter-asr@1.0.0"


def _prepared(toy: Toys, **settings: int) -> Engine:
    engine = Engine([toy(write_counter_asr)], EngineSettings(**settings))  # type: ignore[arg-type]
    engine.prepare()
    return engine


def test_streams_are_shared_out_evenly(toy: Toys) -> None:
    """The limit holds over all workers, and no worker is left without a slot."""
    assert [worker.free_slots(COUNTER) for worker in _prepared(toy, workers=3, max_streams=8).workers] == [3, 3, 2]
    assert [worker.free_slots(COUNTER) for worker in _prepared(toy, workers=3, max_streams=2).workers] == [1, 1]


def test_memory_is_shared_out_evenly(toy: Toys) -> None:
    """Each worker pays its scratch row from its part of the budget."""
    engine = _prepared(toy, workers=2, memory_budget_bytes=2 * 5 * 16)
    assert [worker.free_slots(COUNTER) for worker in engine.workers] == [4, 4]


def test_workers_default_to_the_cores_of_the_process(toy: Toys) -> None:
    """One worker per core that may be used; one for cuda."""
    assert len(_prepared(toy).workers) == len(os.sched_getaffinity(0))


def test_the_emptiest_worker_is_chosen(toy: Toys) -> None:
    """New streams go where most slots are free, until all are taken."""
    engine = _prepared(toy, workers=2, max_streams=4)
    assert [_leased(engine) for _ in range(4)] == [0, 1, 0, 1]
    with pytest.raises(Overloaded) as caught:
        engine.choose_worker(COUNTER)
    assert str(caught.value) == "all slots of counter-asr@1.0.0 are taken, try again later"


def test_a_worker_that_fails_gets_no_new_streams(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its free slots attract nobody while another worker is well; with none well there is nothing to choose."""
    engine = _prepared(toy, workers=2, max_streams=4)
    well = {1}
    monkeypatch.setattr(Worker, "healthy", property(lambda worker: worker.index in well))
    assert [_leased(engine) for _ in range(2)] == [1, 1]
    with pytest.raises(Overloaded, match=r"^all slots of counter-asr@1\.0\.0 are taken, try again later$"):
        engine.choose_worker(COUNTER)
    well.clear()
    assert _leased(engine) == 0


def _leased(engine: Engine) -> int:
    worker = engine.choose_worker(COUNTER)
    worker.lease(COUNTER, "stream")
    return worker.index


def test_an_unserved_bundle_lists_the_served_ones(toy: Toys) -> None:
    """The error says what is served."""
    with pytest.raises(UnknownBundle) as caught:
        _prepared(toy, workers=1).choose_worker("asr-en@1.0.0")
    assert str(caught.value) == "unknown bundle 'asr-en@1.0.0', expected one of counter-asr@1.0.0"


def test_ready_only_between_start_and_stop(toy: Toys) -> None:
    """Prepared is not started; stopped is not ready."""
    engine = _prepared(toy, workers=1)
    assert not engine.ready
    engine.start()
    assert engine.ready
    engine.stop()
    assert not engine.ready


def test_a_bundle_that_fails_its_self_test_is_served_right(toy: Toys) -> None:
    """The engine falls back for that bundle alone, once for all workers, and the outputs are right."""
    engine = Engine([toy(write_wrong_order), toy(write_variants)], EngineSettings(workers=2))
    with capture_logs() as logs:
        engine.prepare()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == [
        "self-test failed, state is copied"
    ]
    ready = [(entry["bundle"], entry["mode"]) for entry in logs if entry["event"] == "bundle ready"]
    assert ready == [("wrong-order@1.0.0", "swapped"), ("variants@1.0.0", "aliased")] * 2
    worker = engine.workers[1]
    lease = worker.lease("wrong-order@1.0.0", "stream")
    seen: list[float] = []
    for index in range(3):
        start = frozenset({"all"}) if index == 0 else frozenset[str]()
        row = Row((lease,), {"x": np.ones(1, np.float32)}, start)
        worker.submit(Step("wrong-order@1.0.0", "step", row, 0.0), lambda result: seen.append(result.outputs["y"][0]))
        worker.run_once()
    assert seen == [1, 2, 3]


def test_streams_run_on_real_threads(toy: Toys) -> None:
    """Four streams over two worker threads, each submitting from its callback, are each as if alone."""
    engine = Engine([toy(write_counter_asr)], EngineSettings(workers=2))
    engine.start()
    rng = np.random.default_rng(4)
    audio = [loud_audio(rng, 20) for _ in range(4)]
    runs = [_Run(engine, pcm) for pcm in audio]
    for run in runs:
        run.worker.post(run.advance)
    assert all(run.done.wait(10) for run in runs)
    engine.stop()
    for run, pcm in zip(runs, audio, strict=True):
        assert np.array_equal(run.ids, counter_expected(pcm))
    assert sorted(run.worker.index for run in runs) == [0, 0, 1, 1]


class _Run:
    def __init__(self, engine: Engine, pcm: np.ndarray) -> None:
        self.worker = engine.choose_worker(COUNTER)
        self.lease = self.worker.lease(COUNTER, "stream")
        self.chunks = pcm.reshape(-1, CHUNK)
        self.ids: list[np.ndarray] = []
        self.done = threading.Event()

    def advance(self) -> None:
        start = frozenset() if self.ids else BOTH
        row = Row((self.lease,), {"pcm": self.chunks[len(self.ids)]}, start)
        self.worker.submit(Step(COUNTER, "step", row, 0.0), self.receive)

    def receive(self, result: Result) -> None:
        self.ids.append(result.outputs["ids"])
        if len(self.ids) < len(self.chunks):
            self.advance()
        else:
            self.done.set()
