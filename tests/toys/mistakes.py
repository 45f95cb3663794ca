"""Models with the mistakes that exporters and models make; each has one float state `total`, a running sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

TABLE = (10.0, 20.0, 30.0, 40.0)


def write_wrong_order(folder: Path) -> Path:
    """Write `folder/wrong-order`: `y = total + x`, where `total` is read after it was scattered over.

    ONNX calls this correct, for inputs do not change; with one memory for input and output, `y` is too large by `x`.
    """
    g = GraphBuilder()
    x, slots, start, total, _ = _running_sum(g)
    late_slots = g.op("Add", slots, _zero_after_scatter(g, slots))
    old = g.gather(total, late_slots, start)
    g.row_output(g.op("Add", old, x), "y", "TYPE_FP32", (1,))
    return _write(folder, "wrong-order", g)


def write_forgetful(folder: Path) -> Path:
    """Write `folder/forgetful`: `start_all` is ignored, so a stream hears who had its slot before."""
    g = GraphBuilder()
    x = g.row_input("x", "TYPE_FP32", (1,))
    slots, start = g.slots("stream"), g.start("all")
    total = g.arena("total", "TYPE_FP32", (1,))
    nothing = g.op("Mul", g.cast(g.op("Unsqueeze", start, g.ints([1])), "TYPE_FP32"), g.floats(0))
    new = g.op("Add", g.op("Add", g.gather(total, slots), x), nothing)
    g.scatter(total, slots, new, "TYPE_FP32", (1,))
    g.row_output(new, "y", "TYPE_FP32", (1,))
    return _write(folder, "forgetful", g)


def write_faulty(folder: Path, memory: int = 1) -> Path:
    """Write `folder/faulty`: `y = total + sqrt(x) + TABLE[index]`.

    A negative `x` makes output and state NaN; an `index` beyond the table raises, after the state was written. The
    state has `memory` equal values.
    """
    g = GraphBuilder()
    x, index = g.row_input("x", "TYPE_FP32", (1,)), g.row_input("index", "TYPE_INT64", ())
    _, slots, _, _, new = _running_sum(g, g.op("Sqrt", x), memory)
    late_index = g.op("Add", index, _zero_after_scatter(g, slots))
    bonus = g.op("Unsqueeze", g.op("Gather", g.floats(TABLE), late_index, axis=0), g.ints([1]))
    first = g.op("Slice", new, g.ints([0]), g.ints([1]), g.ints([1]))
    g.row_output(g.op("Add", first, bonus), "y", "TYPE_FP32", (1,))
    return _write(folder, "faulty", g, [tensor("index", "TYPE_INT64")], memory)


def _running_sum(g: GraphBuilder, x: str | None = None, memory: int = 1) -> tuple[str, str, str, str, str]:
    x = x or g.row_input("x", "TYPE_FP32", (1,))
    slots, start = g.slots("stream"), g.start("all")
    total = g.arena("total", "TYPE_FP32", (memory,))
    new = g.op("Add", g.gather(total, slots, start), x)
    g.scatter(total, slots, new, "TYPE_FP32", (memory,))
    return x, slots, start, total, new


def _zero_after_scatter(g: GraphBuilder, slots: str) -> str:
    """Zeros i64[B] that exist only once the arena has been scattered over."""
    after = g.op("Gather", "total_out", slots, axis=0)
    zero = g.cast(g.op("IsInf", after), "TYPE_INT64")
    return g.op("ReduceSum", zero, g.ints([1]), keepdims=0)


def _write(
    folder: Path, name: str, g: GraphBuilder, more_inputs: list[dict[str, Any]] | None = None, memory: int = 1
) -> Path:
    entry = {
        "inputs": [tensor("x", "TYPE_FP32", 1), *(more_inputs or [])],
        "outputs": [tensor("y", "TYPE_FP32", 1)],
        "pools": ["stream"],
        "groups": ["all"],
        "reads": ["total"],
        "writes": ["total"],
    }
    manifest = {
        "pools": [{"name": "stream"}],
        "states": [state("total", "TYPE_FP32", (memory,), "stream", "all")],
    }
    return write_bundle(folder, name, "1.0.0", {"step": (g.model(), entry)}, manifest)
