"""Slots: leases, generations, and releases that cannot hurt anyone else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.engine.slots import SlotPool
from streamer.errors import Overloaded
from streamer.work import Lease


def test_lends_every_slot_once() -> None:
    """As many leases as slots, each of another slot, then a retryable refusal."""
    pool = SlotPool("asr@1.0.0", "stream", 3)
    assert {pool.lease().slot for _ in range(3)} == {0, 1, 2}
    with pytest.raises(Overloaded) as caught:
        pool.lease()
    assert str(caught.value) == "all 3 stream slots of asr@1.0.0 are taken, try again later"
    assert caught.value.retry_after_s == 1.0
    assert (pool.free, pool.used) == (0, 3)


def test_a_released_slot_has_another_generation() -> None:
    """Who leases a slot again is told apart from who had it before."""
    pool = SlotPool("asr@1.0.0", "stream", 1)
    first = pool.lease()
    pool.release(first)
    assert not pool.is_current(first)
    second = pool.lease()
    assert second == Lease("asr@1.0.0", "stream", 0, 3)
    assert pool.is_current(second)
    assert not pool.is_current(first)


def test_releasing_twice_frees_no_one_elses_slot() -> None:
    """The second release raises, and the new owner keeps the slot."""
    pool = SlotPool("asr@1.0.0", "stream", 1)
    first = pool.lease()
    pool.release(first)
    second = pool.lease()
    with pytest.raises(ValueError) as caught:
        pool.release(first)
    assert str(caught.value) == ("lease of stream slot 0 of asr@1.0.0 is not current: generation 1 was released")
    assert pool.is_current(second)
    assert pool.free == 0


def test_releasing_twice_frees_nothing_while_nobody_holds_the_slot() -> None:
    """The slot is not free twice."""
    pool = SlotPool("asr@1.0.0", "stream", 2)
    lease = pool.lease()
    pool.release(lease)
    with pytest.raises(ValueError, match="is not current"):
        pool.release(lease)
    assert pool.free == 2


@given(st.lists(st.integers(0, 7)))
def test_leases_and_slots_always_balance(choices: list[int]) -> None:
    """Under any order of leases and releases no slot has two owners and none is lost."""
    pool = SlotPool("asr@1.0.0", "stream", 3)
    held: list[Lease] = []
    for choice in choices:
        if choice < 4 and pool.free:
            held.append(pool.lease())
        elif held:
            pool.release(held.pop(choice % len(held)))
        assert len({lease.slot for lease in held}) == len(held) == pool.used
        assert all(pool.is_current(lease) for lease in held)
