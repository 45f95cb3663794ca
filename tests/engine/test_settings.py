"""How many streams fit, and which batch sizes run."""

from __future__ import annotations

import pytest

from streamer.bundle.runtime import Runtime
from streamer.engine.settings import EngineSettings, bucket_sizes, bytes_per_stream, plan_capacity
from streamer.errors import BundleError
from tests.engine.conftest import Toys
from tests.toys import write_beams, write_counter_asr, write_speaker


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))],
)
def test_buckets_are_powers_of_two_and_the_limit(max_batch: int, sizes: tuple[int, ...]) -> None:
    """Every batch up to the limit has a bucket, and none is larger than the limit."""
    assert bucket_sizes(max_batch) == sizes


def test_a_stream_costs_all_rows_it_may_lease(toy: Toys) -> None:
    """Four floats of the stream and two beams of one int64."""
    assert bytes_per_stream(toy(write_beams).manifest) == 4 * 4 + 2 * 8


def test_the_scarcer_of_memory_and_streams_decides(toy: Toys) -> None:
    """The budget pays for the scratch rows too."""
    manifest = toy(write_beams).manifest
    assert plan_capacity(manifest, 10_000, 5) == {"stream": 5, "beam": 10}
    assert plan_capacity(manifest, 4 * 32, 5) == {"stream": 3, "beam": 6}


def test_a_budget_below_one_stream_is_an_error(toy: Toys) -> None:
    """The error says how much is needed."""
    with pytest.raises(BundleError) as caught:
        plan_capacity(toy(write_counter_asr).manifest, 31, 5)
    assert str(caught.value) == (
        "bundle counter-asr: a stream and the scratch rows need 32 bytes of state, got a memory budget of 31"
    )


def test_a_bundle_without_state_has_no_pools(toy: Toys) -> None:
    """Nothing to plan."""
    assert plan_capacity(toy(write_speaker).manifest, 1, 5) == {}


def test_settings_say_what_floats_depend_on() -> None:
    """The provider and the threads of a call; not how many streams there are."""
    assert EngineSettings(provider="cuda", intra_op_threads=2).runtime == Runtime("cuda", 2)
    assert EngineSettings(workers=3, max_batch=1).runtime == Runtime()
