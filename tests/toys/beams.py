"""Two graphs over one memory: an encoder per stream, a decoder per beam that reads the encoder's state.

`encode`: `memory += x`. `decode`: `history = 7 * history + token`, `score = sum(memory) + history`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from streamer.work import Call, Row, Tensors
from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

WIDTH = 4
BEAMS = 2


def _encode() -> bytes:
    g = GraphBuilder()
    x = g.row_input("x", "TYPE_FP32", (WIDTH,))
    slots, start = g.slots("stream"), g.start("encoder")
    memory = g.arena("memory", "TYPE_FP32", (WIDTH,))
    new = g.op("Add", g.gather(memory, slots, start), x)
    g.scatter(memory, slots, new, "TYPE_FP32", (WIDTH,))
    g.row_output(new, "seen", "TYPE_FP32", (WIDTH,))
    return g.model()


def _decode() -> bytes:
    g = GraphBuilder()
    token = g.row_input("token", "TYPE_INT64", (1,))
    streams, beams = g.slots("stream"), g.slots("beam")
    # The encoder has always stepped before, so its group is never started here; the input must be there all the same.
    start_encoder, start_search = g.start("encoder"), g.start("search")
    memory = g.arena("memory", "TYPE_FP32", (WIDTH,))
    history = g.arena("history", "TYPE_INT64", (1,))
    old = g.gather(history, beams, start_search, 0, np.int64)
    new = g.op("Add", g.op("Mul", old, g.ints(7)), token)
    total = g.op("ReduceSum", g.gather(memory, streams, start_encoder), g.ints([1]), keepdims=1)
    g.scatter(history, beams, new, "TYPE_INT64", (1,))
    g.row_output(g.op("Add", total, g.cast(new, "TYPE_FP32")), "score", "TYPE_FP32", (1,))
    return g.model()


def write_beams(folder: Path) -> Path:
    """Write the bundle to `folder/beams`; its task names the program `pair_search`."""
    encode = {
        "inputs": [tensor("x", "TYPE_FP32", WIDTH)],
        "outputs": [tensor("seen", "TYPE_FP32", WIDTH)],
        "pools": ["stream"],
        "groups": ["encoder"],
        "reads": ["memory"],
        "writes": ["memory"],
    }
    decode = {
        "inputs": [tensor("token", "TYPE_INT64", 1)],
        "outputs": [tensor("score", "TYPE_FP32", 1)],
        "pools": ["stream", "beam"],
        "groups": ["encoder", "search"],
        "reads": ["memory", "history"],
        "writes": ["history"],
    }
    manifest = {
        "task": {"kind": "none", "program": "pair_search"},
        "pools": [{"name": "stream"}, {"name": "beam", "max_rows_per_stream": BEAMS}],
        "states": [
            state("memory", "TYPE_FP32", (WIDTH,), "stream", "encoder"),
            state("history", "TYPE_INT64", (1,), "beam", "search"),
        ],
    }
    return write_bundle(
        folder, "beams", "1.0.0", {"encode": (_encode(), encode), "decode": (_decode(), decode)}, manifest
    )


def pair_search(rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
    """A program of two calls: encode every stream, then step both its beams with the tokens 1 and 2.

    A row has the leases (stream, beam, beam) and the input `x`; its output is `scores` f32[2].
    """
    yield Call("encode", [Row(row.leases[:1], {"x": row.inputs["x"]}, row.start & {"encoder"}) for row in rows])
    decoded = yield Call("decode", [_beam(row, beam) for row in rows for beam in range(BEAMS)])
    scores = np.array([outputs["score"][0] for outputs in decoded]).reshape(-1, BEAMS)
    return [{"scores": pair} for pair in scores]


def _beam(row: Row, beam: int) -> Row:
    token = np.array([beam + 1], np.int64)
    return Row((row.leases[0], row.leases[1 + beam]), {"token": token}, row.start & {"search"})


def pair_search_expected(xs: np.ndarray) -> np.ndarray:
    """What `pair_search` returns for `xs` f32[n, 4], one step after the other: f32[n, 2]."""
    memory, history, scores = np.zeros(WIDTH, np.float32), np.zeros(BEAMS, np.int64), []
    for x in xs:
        memory = memory + x
        history = 7 * history + np.arange(1, BEAMS + 1)
        scores.append(memory.sum() + history.astype(np.float32))
    return np.stack(scores)
