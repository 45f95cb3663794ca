"""Programs: several calls over a batch of streams, and faults that stay with their stream."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import pytest
from structlog.testing import capture_logs

from streamer.engine.programs import run_program
from streamer.engine.runner import Runner
from streamer.errors import ModelFault
from streamer.work import Array, Call, Result, Row, Tensors
from tests.engine.conftest import Toys
from tests.engine.support import BOTH, lease, make_dirty, runner_of
from tests.toys import pair_search, pair_search_expected, write_beams, write_speaker

STREAMS = 3


@pytest.fixture
def runner(toy: Toys) -> Runner:
    runner = runner_of(toy(write_beams))
    make_dirty(runner)
    return runner


def _row(stream: int, x: Array, start: bool) -> Row:
    leases = (lease(stream), lease(2 * stream, "beam"), lease(2 * stream + 1, "beam"))
    return Row(leases, {"x": x}, BOTH if start else frozenset())


def _messages(results: Sequence[Result]) -> list[str | None]:
    return [str(result.error) if result.error else None for result in results]


def test_a_program_batches_across_streams(runner: Runner) -> None:
    """Three streams with two beams each, in one batch per call, are each what they are alone."""
    xs = np.random.default_rng(0).integers(-5, 5, (STREAMS, 4, 4)).astype(np.float32)
    seen = [
        run_program("pair_search", pair_search, runner, [_row(i, xs[i, step], step == 0) for i in range(STREAMS)])
        for step in range(4)
    ]
    for stream in range(STREAMS):
        scores = [results[stream].outputs["scores"] for results in seen]
        np.testing.assert_array_equal(scores, pair_search_expected(xs[stream]))


def test_a_fault_in_a_call_faults_its_stream_alone(runner: Runner) -> None:
    """The program goes on with zeros in place of the faulted row, and the others get their results."""
    x = np.ones(4, np.float32)
    results = run_program("pair_search", pair_search, runner, [_row(0, x, True), _row(1, x * np.nan, True)])
    assert _messages(results) == [None, "bundle beams@1.0.0: graph encode: output seen is not finite"]
    np.testing.assert_array_equal(results[0].outputs["scores"], pair_search_expected(x[None])[0])


def test_a_fault_without_leases_faults_the_batch(toy: Toys) -> None:
    """Nothing tells whose the row was."""

    def speak(rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
        good = {"tokens": np.ones(3, np.int64)}
        frames = yield Call("frames", [Row((), good), Row((), {"tokens": np.ones(3)})])
        return [{"frames": outputs["frames"]} for outputs in frames]

    results = run_program("speak", speak, runner_of(toy(write_speaker)), [Row((), {}), Row((), {})])
    message = "bundle speaker@1.0.0: graph frames: input tokens: expected int64 [-1], got float64 [3]"
    assert _messages(results) == [message, message]


def _raises(rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
    yield Call("encode", [])
    raise RuntimeError("bug")


def _forgets(rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
    yield Call("encode", [])
    return []


def _unknown_graph(rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
    yield Call("encoder", [])
    return []


@pytest.mark.parametrize(
    ("program", "kind"), [(_raises, "RuntimeError"), (_forgets, "ValueError"), (_unknown_graph, "KeyError")]
)
def test_a_program_with_a_bug_faults_its_batch(runner: Runner, program, kind: str) -> None:  # type: ignore[no-untyped-def]
    """The error is logged with its traceback, and every row learns of it."""
    x = np.ones(4, np.float32)
    with capture_logs() as logs:
        results = run_program("buggy", program, runner, [_row(0, x, True), _row(1, x, True)])
    assert _messages(results) == [f"bundle beams@1.0.0: program buggy: raised {kind}"] * 2
    assert isinstance(results[0].error, ModelFault)
    assert [(entry["event"], entry["program"]) for entry in logs] == [("program raised", "buggy")]
