"""Rows to batches and back: checks every row alone, pads to a bucket, and checks every row of the outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from streamer.bundle.manifest import Graph, Tensor
from streamer.errors import ModelFault
from streamer.work import Array, Result, Row

# A product of more numbers may be spread over threads, of which the server has enough.
_SHORT = 8192


def row_problem(graph: Graph, row: Row) -> str | None:
    """Say what makes `row` unfit for `graph`, or None."""
    if len(row.inputs) != len(graph.inputs):
        expected = ", ".join(tensor.name for tensor in graph.inputs)
        return f"expected inputs {expected}, got {', '.join(row.inputs)}"
    for tensor in graph.inputs:
        array = row.inputs.get(tensor.name)
        if array is None:
            return f"input {tensor.name} is missing"
        if array.dtype != tensor.dtype or not _fits(array.shape, tensor.dims):
            return f"input {tensor.name}: expected {_spec(tensor)}, got {array.dtype} {list(array.shape)}"
    for pool in graph.pools:
        count = sum(lease.pool == pool for lease in row.leases)
        if count != 1:
            return f"expected one lease of pool {pool}, got {count}"
    return None


def slots_of(rows: Sequence[Row], pool: str) -> list[int]:
    """Return the slot of each row in `pool`."""
    return [lease.slot for row in rows for lease in row.leases if lease.pool == pool]


def pad_inputs(graph: Graph, rows: Sequence[Row], bucket: int, free_length: int) -> dict[str, Array]:
    """Stack the row inputs and start flags: `[bucket, ...]`, zeros and True in the padding.

    Without rows, free dimensions take `free_length`. A row alone is not copied.
    """
    feeds = {tensor.name: _stacked(tensor, rows, bucket, free_length) for tensor in graph.inputs}
    for group in graph.groups:
        feeds[f"start_{group}"] = _flags(tuple([group in row.start for row in rows]), bucket)
    return feeds


def pad_slots(slots: Sequence[int], bucket: int, scratch: int) -> Array:
    """Return i64[bucket]: the slots, then the scratch row."""
    return np.array([*slots, *[scratch] * (bucket - len(slots))], np.int64)


def split_outputs(where: str, graph: Graph, outputs: Mapping[str, Array], bucket: int, count: int) -> list[Result]:
    """Cut the first `count` rows out of `outputs`.

    What the manifest does not allow is a `ModelFault`: of all rows for a wrong type or shape, of one row alone if
    that row holds a NaN or an infinity.
    """
    for tensor in graph.outputs:
        array = outputs[tensor.name]
        if array.dtype != tensor.dtype or not _fits(array.shape, (bucket, *tensor.dims)):
            got = f"{array.dtype} {list(array.shape[1:])}"
            fault = ModelFault(f"{where}: output {tensor.name}: expected {_spec(tensor)}, got {got}")
            return [Result(error=fault)] * count
    results = [Result({name: array[index] for name, array in outputs.items()}) for index in range(count)]
    for tensor in graph.outputs:
        if tensor.dtype.kind == "f":
            for index in _non_finite(outputs[tensor.name], count):
                results[index] = Result(error=ModelFault(f"{where}: output {tensor.name} is not finite"))
    return results


def shape_key(row: Row) -> tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]:
    """Rows whose keys are equal can be stacked."""
    return tuple(sorted([(name, array.dtype, array.shape) for name, array in row.inputs.items()]))


def zero_outputs(graph: Graph) -> dict[str, Array]:
    """Return outputs of one row that say nothing; free dimensions are empty."""
    return {tensor.name: np.zeros(_with_length(tensor.dims, 0), tensor.dtype) for tensor in graph.outputs}


@lru_cache(1024)
def _flags(values: tuple[bool, ...], bucket: int) -> Array:
    """The same array each time, so not to be written to."""
    flags = np.array([*values, *[True] * (bucket - len(values))])
    flags.flags.writeable = False
    return flags


def _stacked(tensor: Tensor, rows: Sequence[Row], bucket: int, free_length: int) -> Array:
    if bucket == 1 and rows:
        return np.asarray(rows[0].inputs[tensor.name], order="C")[None]
    shape = rows[0].inputs[tensor.name].shape if rows else _with_length(tensor.dims, free_length)
    stacked = np.zeros((bucket, *shape), tensor.dtype)
    for index, row in enumerate(rows):
        stacked[index] = row.inputs[tensor.name]
    return stacked


@lru_cache(1024)
def _fits(shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    return len(shape) == len(dims) and all(dim in (-1, size) for size, dim in zip(shape, dims, strict=True))


def _with_length(dims: tuple[int, ...], length: int) -> tuple[int, ...]:
    return tuple(length if dim == -1 else dim for dim in dims)


def _spec(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.dims)}"


def _non_finite(array: Array, count: int) -> list[int]:
    # Squares that overflow only send us to look more closely.
    if array.size <= _SHORT and math.isfinite(np.vdot(array, array)):
        return []
    finite = np.isfinite(array[:count])
    return [] if finite.all() else [index for index in range(count) if not finite[index].all()]
