"""A transcriber with a short memory and a large state: each token depends on the last chunks and on the last token.

A frame is 80 samples (5 ms), a chunk is 4 frames. A ring keeps the loudness of the last `MEMORY` chunks, in units of
1/200, beside ballast that makes the state too large for a resume token. The first frame of a chunk emits token
`1 + (sum of the ring + this chunk + last) mod 4` when its chunk is loud, where `last` is the last token emitted (group
`search`). So replay must begin early enough, and what the search has said must be kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

CHUNK = 320
FRAME = 80
MEMORY = 8
BALLAST = 2048
PIECES = ("<blk>", "▁a", "▁b", "c", "d")
TOKENS = "".join(f"{piece} {index}\n" for index, piece in enumerate(PIECES)).encode()
STATES = [
    state("ring", "TYPE_INT64", (MEMORY + BALLAST,), "stream", "encoder"),
    state("last", "TYPE_INT64", (1,), "stream", "search"),
]


def _model() -> bytes:
    g = GraphBuilder()
    pcm = g.row_input("pcm", "TYPE_FP32", (CHUNK,))
    slots, start_encoder, start_search = g.slots("stream"), g.start("encoder"), g.start("search")
    ring, last = g.arena("ring", "TYPE_INT64", (MEMORY + BALLAST,)), g.arena("last", "TYPE_INT64", (1,))
    old = g.gather(ring, slots, start_encoder, 0, np.int64)
    old_last = g.gather(last, slots, start_search, 0, np.int64)
    mean = g.op("ReduceMean", g.op("Abs", pcm), g.ints([1]), keepdims=1)
    loudness = g.cast(g.op("Round", g.op("Mul", mean, g.floats(200))), "TYPE_INT64")
    window = _columns(g, old, BALLAST, BALLAST + MEMORY)
    total = g.op("Add", g.op("ReduceSum", window, g.ints([1]), keepdims=1), loudness)
    token = g.op("Add", g.op("Mod", g.op("Add", total, old_last), g.ints(4)), g.ints(1))
    token = g.op("Where", g.op("GreaterOrEqual", loudness, g.ints(2)), token, g.ints(0))
    shifted = g.op("Concat", _columns(g, old, 1, BALLAST + MEMORY), loudness, axis=1)
    g.scatter(ring, slots, shifted, "TYPE_INT64", (MEMORY + BALLAST,))
    kept = g.op("Where", g.op("Greater", token, g.ints(0)), token, old_last)
    g.scatter(last, slots, kept, "TYPE_INT64", (1,))
    g.row_output(g.op("Mul", token, g.ints([[1, 0, 0, 0]])), "ids", "TYPE_INT64", (4,))
    g.row_output(g.op("Mul", g.cast(token, "TYPE_FP32"), g.floats([[-0.1, 0, 0, 0]])), "logp", "TYPE_FP32", (4,))
    return g.model()


def _columns(g: GraphBuilder, tensor: str, begin: int, end: int) -> str:
    return g.op("Slice", tensor, g.ints([begin]), g.ints([end]), g.ints([1]))


def write_echo(folder: Path) -> Path:
    """Write the bundle to `folder/echo`."""
    entry = {
        "inputs": [tensor("pcm", "TYPE_FP32", CHUNK)],
        "outputs": [tensor("ids", "TYPE_INT64", 4), tensor("logp", "TYPE_FP32", 4)],
        "pools": ["stream"],
        "groups": ["encoder", "search"],
        "reads": ["ring", "last"],
        "writes": ["ring", "last"],
        "audio": {"input": "pcm", "chunk_samples": CHUNK, "hop_samples": CHUNK, "delay_samples": CHUNK},
    }
    manifest: dict[str, Any] = {
        "sample_rate": 16000,
        "receptive_field_samples": MEMORY * CHUNK,
        "task": {
            "kind": "transcribe",
            "roles": {"pcm": "step.pcm", "token_ids": "step.ids", "token_logp": "step.logp"},
            "parameters": {"blank_id": 0, "frame_samples": FRAME, "token_delay_samples": 0, "flush_samples": CHUNK},
            "assets": {"tokens": "tokens.txt"},
        },
        "pools": [{"name": "stream"}],
        "states": STATES,
    }
    return write_bundle(folder, "echo", "1.0.0", {"step": (_model(), entry)}, manifest, {"tokens.txt": TOKENS})
