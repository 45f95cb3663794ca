"""The scheduler: order, groups, leases and withdrawal."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.engine.scheduler import Batch, Scheduler
from streamer.work import Lease, Priority, Row, Step
from tests.engine.support import lease


def _step(
    deadline: float,
    slot: int | None = None,
    target: str = "step",
    length: int = 4,
    priority: Priority = Priority.LIVE,
    bundle: str = "toy@1.0.0",
) -> Step:
    leases = () if slot is None else (lease(slot),)
    return Step(bundle, target, Row(leases, {"pcm": np.zeros(length, np.float32)}), deadline, priority)


def _scheduler(max_batch: int = 8) -> Scheduler[int]:
    return Scheduler(lambda bundle, target: max_batch)


def _payloads(batch: Batch[int] | None) -> list[int]:
    assert batch is not None
    return [payload for _, payload in batch.jobs]


def test_an_empty_queue_has_no_batch() -> None:
    """There is nothing to pick when nothing was submitted."""
    assert _scheduler().pick() is None


def test_the_earliest_deadline_is_first() -> None:
    """Within a batch and between batches, urgency decides."""
    scheduler = _scheduler(max_batch=2)
    for payload, deadline in enumerate((3.0, 1.0, 2.0)):
        scheduler.submit(_step(deadline, payload), payload)
    assert _payloads(scheduler.pick()) == [1, 2]
    assert _payloads(scheduler.pick()) == [0]
    assert scheduler.pick() is None


def test_equal_deadlines_keep_the_order_of_submission() -> None:
    """Nobody overtakes without a reason."""
    scheduler = _scheduler(max_batch=2)
    for payload in range(4):
        scheduler.submit(_step(1.0, payload), payload)
    assert _payloads(scheduler.pick()) == [0, 1]


def test_live_goes_before_files() -> None:
    """A file waits for live streams, whatever its deadline, but may fill up their batch."""
    scheduler = _scheduler(max_batch=2)
    scheduler.submit(_step(0.0, 0, priority=Priority.FILE), 0)
    for payload in (1, 2, 3):
        scheduler.submit(_step(9.0, payload), payload)
    assert _payloads(scheduler.pick()) == [1, 2]
    assert _payloads(scheduler.pick()) == [3, 0]


def test_only_equal_shapes_share_a_batch() -> None:
    """The group of the most urgent step is picked, and others wait."""
    scheduler = _scheduler()
    scheduler.submit(_step(2.0, 0, length=4), 0)
    scheduler.submit(_step(1.0, 1, length=8), 1)
    scheduler.submit(_step(3.0, 2, length=8), 2)
    scheduler.submit(_step(0.5, 3, target="other"), 3)
    scheduler.submit(_step(0.7, 4, bundle="other@1.0.0"), 4)
    assert [_payloads(scheduler.pick()) for _ in range(4)] == [[3], [4], [1, 2], [0]]


def test_the_batch_names_its_target() -> None:
    """A batch says which graph of which bundle runs."""
    scheduler = _scheduler()
    scheduler.submit(_step(1.0, 0), 0)
    batch = scheduler.pick()
    assert batch is not None
    assert (batch.bundle, batch.target) == ("toy@1.0.0", "step")


def test_steps_of_one_lease_run_one_by_one_in_order() -> None:
    """A later step of a stream never shares its batch nor overtakes it, even with an earlier deadline."""
    scheduler = _scheduler()
    scheduler.submit(_step(5.0, 0), 0)
    scheduler.submit(_step(1.0, 0), 1)
    scheduler.submit(_step(9.0, 1), 2)
    assert _payloads(scheduler.pick()) == [0, 2]
    assert _payloads(scheduler.pick()) == [1]


def test_steps_without_leases_share_a_batch() -> None:
    """Stateless work knows no order but urgency."""
    scheduler = _scheduler()
    for payload in range(3):
        scheduler.submit(_step(1.0), payload)
    assert _payloads(scheduler.pick()) == [0, 1, 2]


def test_withdrawn_steps_never_run() -> None:
    """All steps of a lease go, and steps that waited only for them come up."""
    scheduler = _scheduler()
    both = Step("toy@1.0.0", "step", Row((lease(0), lease(1)), {"pcm": np.zeros(4, np.float32)}), 2.0)
    scheduler.submit(_step(1.0, 0), 0)
    scheduler.submit(both, 1)
    scheduler.submit(_step(3.0, 1), 2)
    assert scheduler.withdraw(lease(0)) == 2
    assert len(scheduler) == 1
    assert _payloads(scheduler.pick()) == [2]
    assert scheduler.withdraw(lease(0)) == 0


def test_withdrawn_steps_take_no_memory() -> None:
    """A storm of aborted streams behind one urgent stream leaves nothing behind."""
    scheduler = _scheduler()
    scheduler.submit(_step(0.0, 0), 0)
    for slot in range(1, 1000):
        scheduler.submit(_step(float(slot), slot, length=slot), slot)
        scheduler.withdraw(lease(slot))
    assert len(scheduler._ready) < 100
    assert len(scheduler._groups) < 100
    assert _payloads(scheduler.pick()) == [0]
    assert scheduler.pick() is None
    assert not scheduler._groups
    assert not scheduler._queues


STEPS = st.lists(
    st.tuples(
        st.floats(0, 10),
        st.lists(st.integers(0, 5), max_size=3, unique=True),
        st.sampled_from(["a", "b"]),
        st.sampled_from(Priority),
    ),
    max_size=40,
)


def _submit_all(scheduler: Scheduler[int], specs: list[tuple[float, list[int], str, Priority]]) -> list[Step]:
    steps = [
        Step("toy@1.0.0", target, Row(tuple(map(lease, slots)), {}), deadline, priority)
        for deadline, slots, target, priority in specs
    ]
    for payload, step in enumerate(steps):
        scheduler.submit(step, payload)
    return steps


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 4))
def test_every_step_runs_once_and_by_the_rules(
    specs: list[tuple[float, list[int], str, Priority]], max_batch: int
) -> None:
    """Any mix of steps: each runs once, batches are pure and distinct, leases keep order, the most urgent is first."""
    scheduler = _scheduler(max_batch)
    steps = _submit_all(scheduler, specs)
    waiting = set(range(len(steps)))
    while (batch := scheduler.pick()) is not None:
        payloads = _payloads(batch)
        assert len(payloads) <= max_batch
        assert {steps[payload].target for payload in payloads} == {batch.target}
        leases = [item for payload in payloads for item in steps[payload].row.leases]
        assert len(set(leases)) == len(leases)
        eligible = [one for one in waiting if not any(_blocks(steps, other, one) for other in waiting)]
        assert payloads[0] == min(eligible, key=lambda one: (steps[one].priority, steps[one].deadline, one))
        assert set(payloads) <= set(eligible)
        waiting -= set(payloads)
    assert not waiting
    assert len(scheduler) == 0


def _blocks(steps: list[Step], other: int, one: int) -> bool:
    return other < one and bool(set(steps[other].row.leases) & set(steps[one].row.leases))


@settings(max_examples=100, deadline=None)
@given(STEPS, st.sets(st.integers(0, 5)))
def test_withdrawal_leaves_exactly_the_others(
    specs: list[tuple[float, list[int], str, Priority]], gone: set[int]
) -> None:
    """After withdrawing some leases, exactly the steps without them run."""
    scheduler = _scheduler(3)
    steps = _submit_all(scheduler, specs)
    withdrawn: set[Lease] = set(map(lease, gone))
    for item in withdrawn:
        scheduler.withdraw(item)
    ran = []
    while (batch := scheduler.pick()) is not None:
        ran += _payloads(batch)
    assert sorted(ran) == [index for index, step in enumerate(steps) if not withdrawn & set(step.row.leases)]
