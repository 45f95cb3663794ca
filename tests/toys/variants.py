"""Two lengths of one graph over the same state: a running sum of 4 or of 8 new samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder


def _model(length: int) -> bytes:
    g = GraphBuilder()
    x = g.row_input("x", "TYPE_FP32", (length,))
    slots, start = g.slots("stream"), g.start("all")
    total = g.arena("total", "TYPE_FP32", (1,))
    new = g.op("Add", g.gather(total, slots, start), g.op("ReduceSum", x, g.ints([1]), keepdims=1))
    g.scatter(total, slots, new, "TYPE_FP32", (1,))
    g.row_output(new, "y", "TYPE_FP32", (1,))
    return g.model()


def write_variants(folder: Path) -> Path:
    """Write the bundle to `folder/variants`, with the graphs `short` and `long`."""
    graphs = {}
    for name, length in (("short", 4), ("long", 8)):
        entry: dict[str, Any] = {
            "inputs": [tensor("x", "TYPE_FP32", length)],
            "outputs": [tensor("y", "TYPE_FP32", 1)],
            "pools": ["stream"],
            "groups": ["all"],
            "reads": ["total"],
            "writes": ["total"],
            "variant_of": None if name == "short" else "short",
        }
        graphs[name] = (_model(length), entry)
    manifest = {
        "pools": [{"name": "stream"}],
        "states": [state("total", "TYPE_FP32", (1,), "stream", "all")],
    }
    return write_bundle(folder, "variants", "1.0.0", graphs, manifest)
