"""A graph whose number of valid output frames varies: step `i` returns `1 + i mod 3` frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

HOP = 8
FRAMES = 4


def _model() -> bytes:
    g = GraphBuilder()
    pcm = g.row_input("pcm", "TYPE_FP32", (HOP,))
    slots, start = g.slots("stream"), g.start("all")
    steps, frames = g.arena("steps", "TYPE_INT64", (1,)), g.arena("frames", "TYPE_INT64", (1,))
    old_steps = g.gather(steps, slots, start, 0, np.int64)
    old_frames = g.gather(frames, slots, start, 0, np.int64)
    n_valid = g.op("Add", g.op("Mod", old_steps, g.ints(3)), g.ints(1))
    g.scatter(steps, slots, g.op("Add", old_steps, g.ints(1)), "TYPE_INT64", (1,))
    g.scatter(frames, slots, g.op("Add", old_frames, n_valid), "TYPE_INT64", (1,))
    energy = g.op("ReduceMax", g.op("Abs", pcm), g.ints([1]), keepdims=1)
    g.row_output(g.op("Tile", energy, g.ints([1, FRAMES])), "energy", "TYPE_FP32", (FRAMES,))
    g.row_output(g.op("Squeeze", n_valid, g.ints([1])), "n_valid", "TYPE_INT64", ())
    g.row_output(g.op("Squeeze", old_frames, g.ints([1])), "first_frame", "TYPE_INT64", ())
    return g.model()


def write_ragged(folder: Path) -> Path:
    """Write the bundle to `folder/ragged`."""
    entry = {
        "inputs": [tensor("pcm", "TYPE_FP32", HOP)],
        "outputs": [
            tensor("energy", "TYPE_FP32", FRAMES),
            tensor("n_valid", "TYPE_INT64"),
            tensor("first_frame", "TYPE_INT64"),
        ],
        "pools": ["stream"],
        "groups": ["all"],
        "reads": ["steps", "frames"],
        "writes": ["steps", "frames"],
        "audio": {"input": "pcm", "chunk_samples": HOP, "hop_samples": HOP, "delay_samples": HOP},
        "n_valid": "n_valid",
        "first_frame": "first_frame",
    }
    manifest = {
        "sample_rate": 16000,
        "pools": [{"name": "stream"}],
        "states": [
            state("steps", "TYPE_INT64", (1,), "stream", "all"),
            state("frames", "TYPE_INT64", (1,), "stream", "all"),
        ],
    }
    return write_bundle(folder, "ragged", "1.0.0", {"step": (_model(), entry)}, manifest)
