"""A voice without state: tokens to frames to PCM, two graphs with free lengths.

Token `t` is the frame `[t / 10, -t / 10]`; a frame is two samples, its two values.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.toys.bundle import tensor, write_bundle
from tests.toys.graph import GraphBuilder


def _frames() -> bytes:
    g = GraphBuilder()
    tokens = g.cast(g.row_input("tokens", "TYPE_INT64", (-1,)), "TYPE_FP32")
    frames = g.op("Mul", g.op("Unsqueeze", tokens, g.ints([2])), g.floats([[[0.1, -0.1]]]))
    g.row_output(frames, "frames", "TYPE_FP32", (-1, 2))
    return g.model()


def _vocoder() -> bytes:
    g = GraphBuilder()
    frames = g.row_input("frames", "TYPE_FP32", (-1, 2))
    g.row_output(g.op("Reshape", frames, g.ints([0, -1])), "pcm", "TYPE_FP32", (-1,))
    return g.model()


def write_speaker(folder: Path) -> Path:
    """Write the bundle to `folder/speaker`."""
    frames = {"inputs": [tensor("tokens", "TYPE_INT64", -1)], "outputs": [tensor("frames", "TYPE_FP32", -1, 2)]}
    vocoder = {"inputs": [tensor("frames", "TYPE_FP32", -1, 2)], "outputs": [tensor("pcm", "TYPE_FP32", -1)]}
    graphs = {"frames": (_frames(), frames), "vocoder": (_vocoder(), vocoder)}
    return write_bundle(folder, "speaker", "1.0.0", graphs, {"sample_rate": 16000})


def speaker_expected(tokens: np.ndarray) -> np.ndarray:
    """The PCM of `tokens` i64[n]: f32[2 * n]."""
    return (tokens.astype(np.float32)[:, None] * np.array([0.1, -0.1], np.float32)).reshape(-1)
