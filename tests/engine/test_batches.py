"""Rows to batches and back."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.bundle.manifest import Graph, Tensor
from streamer.engine.batches import (
    pad_inputs,
    pad_slots,
    row_problem,
    shape_key,
    slots_of,
    split_outputs,
    zero_outputs,
)
from streamer.work import Result, Row
from tests.engine.support import lease, row

GRAPH = Graph(
    name="step",
    file="step.onnx",
    sha256="0" * 64,
    opset=18,
    inputs=(
        Tensor(name="x", data_type="TYPE_FP32", dims=(2,)),
        Tensor(name="text", data_type="TYPE_INT64", dims=(-1,)),
    ),
    outputs=(Tensor(name="y", data_type="TYPE_FP32", dims=(2,)), Tensor(name="z", data_type="TYPE_FP32", dims=(-1, 3))),
    pools=("stream",),
    groups=("all", "search"),
)


def _row(slot: int, start: tuple[str, ...] = (), value: float = 1.0, length: int = 3) -> Row:
    return row(slot, start, x=np.full(2, value, np.float32), text=np.ones(length, np.int64))


def test_a_fit_row_has_no_problem() -> None:
    """Names, types, shapes and leases are as the manifest says."""
    assert row_problem(GRAPH, _row(0)) is None


TEXT = np.ones(3, np.int64)
UNFIT = [
    (row(0, x=np.zeros(2, np.float32)), "expected inputs x, text, got x"),
    (row(0, x=np.zeros(2, np.float32), y=TEXT), "input text is missing"),
    (row(0, x=np.zeros(2), text=TEXT), "input x: expected float32 [2], got float64 [2]"),
    (row(0, x=np.zeros(3, np.float32), text=TEXT), "input x: expected float32 [2], got float32 [3]"),
    (row(0, x=np.zeros(2, np.float32), text=TEXT[None]), "input text: expected int64 [-1], got int64 [1, 3]"),
    (Row((), {"x": np.zeros(2, np.float32), "text": TEXT}), "expected one lease of pool stream, got 0"),
    (
        Row((lease(0), lease(1)), {"x": np.zeros(2, np.float32), "text": TEXT}),
        "expected one lease of pool stream, got 2",
    ),
]


@pytest.mark.parametrize(("unfit", "problem"), UNFIT, ids=[problem for _, problem in UNFIT])
def test_an_unfit_row_is_named(unfit: Row, problem: str) -> None:
    """The problem says what was expected and what came."""
    assert row_problem(GRAPH, unfit) == problem


def test_padding_is_zeros_that_start() -> None:
    """Rows come first, padding has zero inputs and starts every group."""
    feeds = pad_inputs(GRAPH, [_row(0, ("all",)), _row(1)], 4, 16)
    assert feeds["x"].tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert feeds["text"].shape == (4, 3)
    assert feeds["start_all"].tolist() == [True, False, True, True]
    assert feeds["start_search"].tolist() == [False, False, True, True]


def test_without_rows_free_dimensions_take_the_given_length() -> None:
    """Warm-up needs some shape."""
    assert pad_inputs(GRAPH, [], 2, 16)["text"].shape == (2, 16)


def test_a_row_alone_is_not_copied() -> None:
    """What is not contiguous is; scalars stay scalars in a batch of one."""
    scalar = Graph(
        **{**GRAPH.model_dump(exclude={"inputs"}), "inputs": (Tensor(name="n", data_type="TYPE_INT64", dims=()),)}
    )
    assert pad_inputs(scalar, [row(0, n=np.array(7))], 1, 16)["n"].tolist() == [7]
    strided = row(0, x=np.arange(4, dtype=np.float32)[::2], text=TEXT)
    feeds = pad_inputs(GRAPH, [strided], 1, 16)
    assert np.shares_memory(feeds["text"], TEXT)
    assert feeds["text"].shape == (1, 3)
    assert feeds["x"].tolist() == [[0, 2]]
    assert feeds["x"].flags.c_contiguous


def test_padding_goes_to_the_scratch_row() -> None:
    """Slots first, then scratch."""
    assert pad_slots([3, 1], 4, 9).tolist() == [3, 1, 9, 9]


def test_slots_are_those_of_one_pool() -> None:
    """Other leases of a row are not looked at."""
    both = Row((lease(5, "beam"), lease(2)), {})
    assert slots_of([both, _row(7)], "stream") == [2, 7]


def test_rows_of_equal_shapes_have_equal_keys() -> None:
    """The order of inputs does not matter, lengths do."""
    assert shape_key(_row(0)) == shape_key(Row((), dict(reversed(_row(1).inputs.items()))))
    assert shape_key(_row(0)) != shape_key(_row(0, length=4))


def _outputs() -> dict[str, np.ndarray]:
    return {"y": np.arange(8, dtype=np.float32).reshape(4, 2), "z": np.zeros((4, 5, 3), np.float32)}


def _messages(results: list[Result]) -> list[str | None]:
    return [str(result.error) if result.error else None for result in results]


def test_outputs_are_cut_into_rows() -> None:
    """Padding is cut off, and rows have no batch axis."""
    results = split_outputs("graph step", GRAPH, _outputs(), 4, 3)
    assert [result.outputs["y"].tolist() for result in results] == [[0, 1], [2, 3], [4, 5]]
    assert results[0].outputs["z"].shape == (5, 3)


@pytest.mark.parametrize("length", [5, 5000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_row_faults_alone(value: float, length: int) -> None:
    """Its neighbours, and what padding holds, do not matter."""
    outputs = {**_outputs(), "z": np.zeros((4, length, 3), np.float32)}
    outputs["z"][1, 4, 2] = outputs["y"][3, 0] = value
    results = split_outputs("graph step", GRAPH, outputs, 4, 3)
    assert _messages(results) == [None, "graph step: output z is not finite", None]
    assert results[2].outputs["y"].tolist() == [4, 5]


@pytest.mark.parametrize("length", [5, 5000])
def test_a_number_is_finite_even_if_its_square_is_not(length: int) -> None:
    """The quick check may only ever send us to look more closely; what is long gets another one."""
    outputs = {**_outputs(), "z": np.full((4, length, 3), np.finfo(np.float32).max)}
    outputs["z"][3] = np.nan
    assert _messages(split_outputs("graph step", GRAPH, outputs, 4, 3)) == [None] * 3


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (np.zeros((4, 2)), "float64 [2]"),
        (np.zeros((4, 3), np.float32), "float32 [3]"),
        (np.zeros((4, 2, 1), np.float32), "float32 [2, 1]"),
    ],
)
def test_a_wrong_output_faults_every_row(wrong: np.ndarray, got: str) -> None:
    """A type or shape that the manifest does not allow is no one's data."""
    results = split_outputs("graph step", GRAPH, {**_outputs(), "y": wrong}, 4, 2)
    assert _messages(results) == [f"graph step: output y: expected float32 [2], got {got}"] * 2


def test_outputs_that_say_nothing() -> None:
    """Zeros, with empty free dimensions."""
    zeros = zero_outputs(GRAPH)
    assert zeros["y"].tolist() == [0, 0]
    assert zeros["z"].shape == (0, 3)
