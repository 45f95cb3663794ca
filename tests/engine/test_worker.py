"""A worker without its thread: order, delivery, timers, and nothing that can end it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streamer.engine.metrics import EngineMetrics
from streamer.engine.worker import CANARY_LATE_S, Worker
from streamer.errors import InvalidRequest, ModelFault, Overloaded
from streamer.work import Lease, Result, Row, Step
from tests.engine.conftest import Toys
from tests.engine.support import BOTH, Clock, CounterStream, loud_audio, make_dirty, runner_of
from tests.toys import (
    counter_expected,
    pair_search,
    pair_search_expected,
    write_beams,
    write_counter_asr,
    write_speaker,
    write_variants,
)

COUNTER, VARIANTS, BEAMS = "counter-asr@1.0.0", "variants@1.0.0", "beams@1.0.0"
ALL = frozenset({"all"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(toy: Toys, clock: Clock) -> Worker:
    runners = [runner_of(toy(write_counter_asr)), runner_of(toy(write_variants))]
    for runner in runners:
        make_dirty(runner)
    return Worker(0, runners, clock=clock)


def _step(lease: Lease, value: float = 1.0, start: bool = True, deadline: float = 0.0) -> Step:
    inputs = {"x": np.full(4, value, np.float32)}
    return Step(VARIANTS, "short", Row((lease,), inputs, ALL if start else frozenset()), deadline)


def _collect(results: list[float | str]) -> Callable[[Result], None]:
    return lambda result: results.append(str(result.error) if result.error else float(result.outputs["y"][0]))


def _drive(worker: Worker) -> None:
    while worker.run_once():
        pass


def test_an_idle_worker_has_nothing_to_do(worker: Worker) -> None:
    """An iteration without work says so."""
    assert worker.run_once() is False


def test_posted_functions_run_in_order(worker: Worker) -> None:
    """What is posted first runs first, all within one iteration."""
    seen: list[int] = []
    for number in range(3):
        worker.post(lambda number=number: seen.append(number))  # type: ignore[misc]
    assert worker.run_once() is True
    assert seen == [0, 1, 2]


def test_a_stream_gets_its_results_step_by_step(worker: Worker) -> None:
    """Submitting from a callback goes on until the stream ends."""
    pcm = loud_audio(np.random.default_rng(0), 9)
    stream = CounterStream(worker, COUNTER, pcm)
    ids: list[np.ndarray] = []

    def advance() -> None:
        if not stream.done and not stream.waiting:
            stream.advance()

    worker.after_iteration(advance)
    _drive(worker)
    ids = stream.ids
    assert np.array_equal(ids, counter_expected(pcm))
    assert worker.free_slots(COUNTER) == 6


def test_steps_of_many_streams_share_one_call(worker: Worker) -> None:
    """What is queued together runs together, most urgent first."""
    leases = [worker.lease(VARIANTS, "stream") for _ in range(3)]
    seen: list[float | str] = []
    for index, lease in enumerate(leases):
        worker.submit(_step(lease, index, deadline=-index), _collect(seen))
    assert worker.queued == 3
    worker.run_once()
    assert seen == [8.0, 4.0, 0.0]
    assert worker.queued == 0


def test_hooks_run_once_per_iteration_after_delivery(worker: Worker) -> None:
    """However many streams have news, the host is told once."""
    seen: list[float | str] = []
    worker.after_iteration(lambda: seen.append("end"))
    worker.run_once()
    for _ in range(2):
        worker.submit(_step(worker.lease(VARIANTS, "stream")), _collect(seen))
    worker.run_once()
    assert seen == ["end", 4.0, 4.0, "end"]
    worker.run_once()
    assert len(seen) == 4


def test_ticks_follow_the_clock(worker: Worker, clock: Clock) -> None:
    """A tick is due after its period, again after another, and missed ones are not made up for."""
    seen: list[float] = []
    worker.call_every(2.0, lambda: seen.append(clock.now))
    worker.call_every(2.0, lambda: None)
    for now in (101.9, 102.0, 103.0, 109.0, 110.9, 111.0):
        clock.now = now
        worker.run_once()
    assert seen == [102.0, 109.0, 111.0]


def test_time_can_be_given(worker: Worker) -> None:
    """Tests may drive an iteration at any time."""
    seen: list[str] = []
    worker.call_every(1.0, lambda: seen.append("tick"))
    assert worker.run_once(100.5) is False
    assert worker.run_once(101.0) is True
    assert seen == ["tick"]


def test_exceptions_end_no_worker(worker: Worker) -> None:
    """Posted functions, callbacks, hooks and ticks may raise: it is logged, and the others run."""
    seen: list[float | str] = []

    def bug(*_: object) -> None:
        raise RuntimeError("bug")

    worker.after_iteration(bug)
    worker.run_once()
    worker.call_every(0.0, bug)
    worker.post(bug)
    worker.post(lambda: seen.append("posted"))
    worker.submit(_step(worker.lease(VARIANTS, "stream")), bug)
    worker.submit(_step(worker.lease(VARIANTS, "stream")), _collect(seen))
    with capture_logs() as logs:
        worker.run_once()
    assert seen == ["posted", 4.0]
    assert [entry["event"] for entry in logs] == ["function on worker raised"] * 4


def test_a_bug_of_the_engine_faults_the_batch(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runner did not foresee is logged, and the streams of the batch learn of it."""

    def bug(*_: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(worker._runners[VARIANTS], "run", bug)
    seen: list[float | str] = []
    worker.submit(_step(worker.lease(VARIANTS, "stream")), _collect(seen))
    with capture_logs() as logs:
        worker.run_once()
    assert seen == ["bundle variants@1.0.0: short: internal error"]
    assert [entry["event"] for entry in logs] == ["runner failed"]


def test_a_released_lease_gets_nothing_more(worker: Worker) -> None:
    """Queued steps of a released lease never run, and its slot is free at once."""
    first, second = worker.lease(VARIANTS, "stream"), worker.lease(VARIANTS, "stream")
    seen: list[float | str] = []
    worker.submit(_step(first, 1), _collect(seen))
    worker.submit(_step(second, 2), _collect(seen))
    worker.release(first)
    assert worker.free_slots(VARIANTS) == 5
    _drive(worker)
    assert seen == [8.0]
    assert worker.queued == 0


def test_a_late_result_is_dropped(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is released, and lent anew, while its step runs gets no result; nor does the new owner."""
    old = worker.lease(VARIANTS, "stream")
    runner = worker._runners[VARIANTS]
    run = runner.run
    new: list[Lease] = []

    def slow(graph: str, rows: list[Row]) -> list[Result]:
        results = run(graph, rows)
        worker.release(old)
        new.append(worker.lease(VARIANTS, "stream"))
        return results

    monkeypatch.setattr(runner, "run", slow)
    seen: list[float | str] = []
    worker.submit(_step(old), _collect(seen))
    worker.run_once()
    assert seen == []
    assert new[0].slot == old.slot
    monkeypatch.undo()
    worker.submit(_step(new[0], 3), _collect(seen))
    _drive(worker)
    assert seen == [12.0]


def test_a_stale_step_never_shares_a_batch_with_the_new_owner(worker: Worker) -> None:
    """A slot lent anew before the old step was withdrawn runs only the new owner's step."""
    old = worker.lease(VARIANTS, "stream")
    seen: list[float | str] = []
    worker.submit(_step(old, 1), _collect(seen))
    worker.release(old)
    new = worker.lease(VARIANTS, "stream")
    assert new.slot == old.slot
    worker.submit(_step(new, 2), _collect(seen))
    batch = worker._scheduler.pick()
    assert batch is not None
    worker._run_batch(batch)
    assert seen == [8.0]
    worker.submit(_step(old, 1), _collect(seen))
    worker.run_once()
    assert seen == [8.0]


def test_a_lease_is_released_once(worker: Worker) -> None:
    """The second release is an error and frees nothing."""
    lease = worker.lease(VARIANTS, "stream")
    worker.release(lease)
    other = worker.lease(VARIANTS, "stream")
    with pytest.raises(ValueError, match=r"^lease of stream slot 0 of variants@1\.0\.0 is not current"):
        worker.release(lease)
    assert worker.free_slots(VARIANTS) == 5
    worker.release(other)


def test_a_full_house_is_refused(worker: Worker) -> None:
    """When every slot is taken, the next lease is refused, per bundle."""
    for _ in range(6):
        worker.lease(VARIANTS, "stream")
    with pytest.raises(Overloaded):
        worker.lease(VARIANTS, "stream")
    assert (worker.free_slots(VARIANTS), worker.free_slots(COUNTER)) == (0, 6)


@pytest.mark.parametrize(("bundle", "target"), [(VARIANTS, "middle"), ("none@1.0.0", "short")])
def test_a_step_for_nothing_is_refused(worker: Worker, bundle: str, target: str) -> None:
    """A target that no bundle of this worker has is a bug of the caller."""
    with pytest.raises(ValueError) as caught:
        worker.submit(Step(bundle, target, Row((), {}), 0.0), _collect([]))
    assert str(caught.value) == f"bundle {bundle} has no graph or program {target!r} on this worker"


def test_an_abort_storm_leaves_no_slot_leased(worker: Worker) -> None:
    """Streams that go away at any moment, 500 of them, leave all slots free and nothing queued."""
    rng = np.random.default_rng(3)
    streams: list[CounterStream] = []
    started = 0
    while started < 500 or streams:
        while started < 500 and worker.free_slots(COUNTER):
            streams.append(CounterStream(worker, COUNTER, loud_audio(rng, 3)))
            started += 1
        for stream in streams:
            if not stream.waiting and not stream.done:
                stream.advance()
            if rng.random() < 0.4 and not stream.done:
                stream.finish()
        worker.run_once()
        streams = [stream for stream in streams if not stream.done]
    _drive(worker)
    assert worker.free_slots(COUNTER) == 6
    assert worker.queued == 0


def test_a_stream_moves_to_another_slot(worker: Worker) -> None:
    """Snapshot, release, restore into another lease, go on; and a fork goes its own way."""
    first = worker.lease(VARIANTS, "stream")
    seen: list[float | str] = []
    worker.submit(_step(first), _collect(seen))
    worker.run_once()
    snapshot = worker.snapshot([first])
    second, third = worker.lease(VARIANTS, "stream"), worker.lease(VARIANTS, "stream")
    worker.fork([first], [third])
    worker.release(first)
    worker.restore([second], snapshot)
    worker.submit(_step(second, 1, start=False), _collect(seen))
    worker.submit(_step(third, 2, start=False), _collect(seen))
    _drive(worker)
    assert seen == [4.0, 8.0, 12.0]
    counter = worker.lease(COUNTER, "stream")
    with pytest.raises(InvalidRequest, match="^snapshot of another bundle: "):
        worker.restore([counter], snapshot)


def test_a_program_is_a_target(toy: Toys) -> None:
    """Steps of a program are batched and run call by call."""
    worker = Worker(0, [runner_of(toy(write_beams))], {BEAMS: pair_search})
    xs = np.random.default_rng(0).integers(-5, 5, (2, 4)).astype(np.float32)
    seen: list[np.ndarray] = []
    for x in xs:
        leases = (worker.lease(BEAMS, "stream"), worker.lease(BEAMS, "beam"), worker.lease(BEAMS, "beam"))
        step = Step(BEAMS, "pair_search", Row(leases, {"x": x}, BOTH), 0.0)
        worker.submit(step, lambda result: seen.append(result.outputs["scores"]))
    worker.run_once()
    np.testing.assert_array_equal(seen, [pair_search_expected(x[None])[0] for x in xs])


def test_a_program_that_nobody_gave_is_no_target(toy: Toys) -> None:
    """A manifest may name a program that this server does not have."""
    worker = Worker(0, [runner_of(toy(write_beams))])
    with pytest.raises(ValueError, match="has no graph or program 'pair_search' on this worker"):
        worker.submit(Step(BEAMS, "pair_search", Row((), {}), 0.0), _collect([]))


def test_a_bundle_without_state_is_never_full(toy: Toys) -> None:
    """No pool, no limit."""
    worker = Worker(0, [runner_of(toy(write_speaker))])
    assert worker.free_slots("speaker@1.0.0") > 1_000_000


def test_a_failed_canary_is_remembered(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose inference fails is not healthy until it works again."""
    worker.start()
    assert worker.healthy
    worker.stop()
    assert not worker.healthy
    worker.canary()

    def broken() -> None:
        raise ModelFault("broken")

    monkeypatch.setattr(worker._runners[VARIANTS], "canary", broken)
    with pytest.raises(ModelFault, match="^broken$"):
        worker.canary()
    assert not worker._canary_works


def test_a_canary_at_work_is_no_failure(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness does not flicker while the canary runs."""
    during = []
    monkeypatch.setattr(worker._runners[VARIANTS], "canary", lambda: during.append(worker.healthy))
    worker.start()
    worker.canary()
    worker.stop()
    assert during == [True]


def test_a_canary_that_stays_away_is_a_fault(worker: Worker, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs keeps the canary from coming: after half a minute the worker is not healthy."""
    monkeypatch.setattr(worker, "_thread", threading.current_thread())
    assert worker.healthy
    clock.now += CANARY_LATE_S
    assert worker.healthy
    clock.now += 0.1
    assert not worker.healthy
    worker.canary()
    assert worker.healthy


def test_slots_and_queues_are_counted(toy: Toys, clock: Clock) -> None:
    """Used slots, capacity and the wait of each step are metrics."""
    registry = CollectorRegistry()
    worker = Worker(3, [runner_of(toy(write_variants))], clock=clock, metrics=EngineMetrics(registry))
    pool = {"bundle": VARIANTS, "pool": "stream", "worker": "3"}
    assert registry.get_sample_value("streamer_slots_capacity", pool) == 6
    lease = worker.lease(VARIANTS, "stream")
    assert registry.get_sample_value("streamer_slots_used", pool) == 1
    worker.submit(_step(lease), _collect([]))
    clock.now += 0.25
    worker.run_once()
    target = {"bundle": VARIANTS, "target": "short"}
    assert registry.get_sample_value("streamer_queue_seconds_sum", target) == 0.25
    worker.release(lease)
    assert registry.get_sample_value("streamer_slots_used", pool) == 0


def test_the_thread_wakes_for_posts_and_ticks(toy: Toys) -> None:
    """The worker's own thread runs what is posted from another one, and its ticks, and then stops."""
    worker = Worker(7, [runner_of(toy(write_variants))])
    posted, ticked = threading.Event(), threading.Event()
    names: list[str] = []
    worker.start()
    worker.post(lambda: names.append(threading.current_thread().name))
    worker.post(posted.set)
    assert posted.wait(5)
    worker.call_every(0.001, ticked.set)
    assert ticked.wait(5)
    worker.stop()
    assert names == ["worker-7"]
    assert not worker.healthy
