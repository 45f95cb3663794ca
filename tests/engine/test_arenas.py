"""Arenas: numpy and ONNX Runtime see the same memory."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.bundle.manifest import State
from streamer.engine.arenas import Arena, ArenaSet, arena_bytes
from tests.engine.conftest import Toys
from tests.toys import write_beams


def _state(data_type: str, initial: float = 0) -> State:
    return State(name="cache", data_type=data_type, dims=(2, 3), initial_state=initial, pool="stream", group="all")


@pytest.mark.parametrize("data_type", ["TYPE_FP32", "TYPE_FP16", "TYPE_FP64", "TYPE_INT64", "TYPE_INT8", "TYPE_BOOL"])
def test_rows_written_are_what_onnx_runtime_reads(data_type: str) -> None:
    """Writing a row changes the bound value in place, for every type."""
    arena = Arena(_state(data_type), 4)
    arena.write([2], np.ones((1, 2, 3), arena.state.dtype))
    seen = arena.value.numpy()
    assert seen.dtype == arena.state.dtype
    assert [bool(rows.any()) for rows in seen] == [False, False, True, False]
    assert seen[2].all()


def test_what_is_read_is_a_copy() -> None:
    """A snapshot does not change with the arena."""
    arena = Arena(_state("TYPE_FP32"), 3)
    before = arena.read([0, 1])
    arena.write([0, 1], np.float32(7))
    assert before.shape == (2, 2, 3)
    assert not before.any()
    assert arena.read([1]).tolist() == [[[7.0] * 3] * 2]


def test_an_arena_knows_its_rows() -> None:
    """Size and initial value come from the state."""
    arena = Arena(_state("TYPE_FP16", 0.5), 3)
    assert arena.row_bytes == 12
    assert arena.initial == np.float16(0.5)
    assert arena.initial.dtype == np.float16


def test_the_scratch_row_is_the_last_one(toy: Toys) -> None:
    """Each pool has one row more than slots."""
    arenas = ArenaSet(toy(write_beams).manifest, {"stream": 3, "beam": 6})
    assert arenas.scratch("beam") == 6
    assert arenas.front["history"].value.shape() == [7, 1]
    assert arenas.back == {}


def test_exchange_swaps_only_what_was_written(toy: Toys) -> None:
    """The back of a written state becomes its front."""
    arenas = ArenaSet(toy(write_beams).manifest, {"stream": 3, "beam": 6}, doubled=True)
    memory, history, back = arenas.front["memory"], arenas.front["history"], arenas.back["history"]
    arenas.exchange(["history"])
    assert (arenas.front["history"], arenas.back["history"]) == (back, history)
    assert arenas.front["memory"] is memory


def test_bytes_count_slots_and_scratch_rows(toy: Toys) -> None:
    """Four rows of four floats, seven rows of one int64."""
    assert arena_bytes(toy(write_beams).manifest, {"stream": 3, "beam": 6}) == 4 * 16 + 7 * 8
