"""One graph on arenas: every mode leaves the same state and outputs."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.engine.execution import Mode
from tests.engine.conftest import Toys
from tests.engine.support import make_dirty, row, runner_of
from tests.toys import write_variants, write_wrong_order


@pytest.mark.parametrize("mode", Mode)
def test_only_the_rows_of_the_batch_change(toy: Toys, mode: Mode) -> None:
    """A step writes its own rows (and scratch), and nothing of any other stream."""
    runner = runner_of(toy(write_variants), mode)
    make_dirty(runner)
    before = runner.arenas.front["total"].read(range(6))
    runner.run("short", [row(4, x=np.ones(4, np.float32)), row(1, x=np.ones(4, np.float32))])
    changed = runner.arenas.front["total"].read(range(6)) - before
    assert changed[:, 0].tolist() == [0, 4, 0, 0, 4, 0]


@pytest.mark.parametrize("mode", Mode)
def test_results_survive_the_next_call(toy: Toys, mode: Mode) -> None:
    """Outputs are the caller's: a later call does not write over them."""
    runner = runner_of(toy(write_variants), mode)
    first = runner.run("short", [row(0, ["all"], x=np.ones(4, np.float32))])[0]
    runner.run("short", [row(0, x=np.ones(4, np.float32))])
    assert first.outputs["y"].tolist() == [4.0]


@pytest.mark.parametrize("mode", [Mode.SWAPPED, Mode.GATHERED])
def test_a_late_read_is_right_where_state_is_copied(toy: Toys, mode: Mode) -> None:
    """A graph that reads an arena after scattering over it is right in both fallbacks."""
    runner = runner_of(toy(write_wrong_order), mode)
    seen = [runner.run("step", [row(2, ["all"] if step == 0 else [], x=1.0)])[0].outputs["y"][0] for step in range(4)]
    assert seen == [1, 2, 3, 4]


def test_a_late_read_is_wrong_in_place(toy: Toys) -> None:
    """Without the self-test such a graph would be served wrong."""
    runner = runner_of(toy(write_wrong_order), Mode.ALIASED)
    seen = [runner.run("step", [row(2, ["all"] if step == 0 else [], x=1.0)])[0].outputs["y"][0] for step in range(4)]
    assert seen == [1, 3, 4, 5]
