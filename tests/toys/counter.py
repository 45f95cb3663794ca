"""A transcriber that hears loudness: each token depends on this chunk and on all the audio before it.

A frame is 80 samples (5 ms), a chunk is 4 frames. With `q` a frame's mean |pcm| in units of 1/200, rounded, and `c` the
running sum of `q` since the stream began (group `encoder`), frames 0 and 2 of a chunk emit token
`1 + (c + last) mod 10` when `q >= 2`, blank (0) otherwise. `last` is the last token emitted before the chunk (group
`search`). A lost, repeated or foreign chunk therefore changes every later token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

CHUNK = 320
FRAME = 80
# More than any loudness: frames at odd positions never emit.
SILENT = 1 << 40
PIECES = ("<blk>", "▁a", "▁b", "▁c", "▁d", "▁e", "f", "g", "h", "i", "j")
TOKENS = "".join(f"{piece} {index}\n" for index, piece in enumerate(PIECES)).encode()
STATES = [
    state("total", "TYPE_INT64", (1,), "stream", "encoder"),
    state("last", "TYPE_INT64", (1,), "stream", "search"),
]


def counter_model() -> bytes:
    """The graph `step` of the counter."""
    g = GraphBuilder()
    pcm = g.row_input("pcm", "TYPE_FP32", (CHUNK,))
    slots, start_encoder, start_search = g.slots("stream"), g.start("encoder"), g.start("search")
    total, last = g.arena("total", "TYPE_INT64", (1,)), g.arena("last", "TYPE_INT64", (1,))
    old_total = g.gather(total, slots, start_encoder, 0, np.int64)
    old_last = g.gather(last, slots, start_search, 0, np.int64)
    loudness = _loudness(g, pcm)
    sums = g.op("Add", old_total, g.op("CumSum", loudness, g.ints(1)))
    ids = _ids(g, loudness, sums, old_last)
    digit = g.cast(g.op("Mod", sums, g.ints(10)), "TYPE_FP32")
    g.scatter(total, slots, _column(g, sums, 3), "TYPE_INT64", (1,))
    g.scatter(last, slots, _last(g, ids, old_last), "TYPE_INT64", (1,))
    g.row_output(ids, "ids", "TYPE_INT64", (4,))
    g.row_output(g.op("Mul", digit, g.floats(-0.1)), "logp", "TYPE_FP32", (4,))
    return g.model()


def _loudness(g: GraphBuilder, pcm: str) -> str:
    """Mean |pcm| of each frame in units of 1/200: i64[B, 4]."""
    frames = g.op("Reshape", g.op("Abs", pcm), g.ints([-1, 4, FRAME]))
    mean = g.op("ReduceMean", frames, g.ints([2]), keepdims=0)
    return g.cast(g.op("Round", g.op("Mul", mean, g.floats(200))), "TYPE_INT64")


def _ids(g: GraphBuilder, loudness: str, sums: str, last: str) -> str:
    """Tokens of loud frames at even positions, blank elsewhere: i64[B, 4]."""
    loud = g.op("GreaterOrEqual", loudness, g.ints([[2, SILENT, 2, SILENT]]))
    token = g.op("Add", g.op("Mod", g.op("Add", sums, last), g.ints(10)), g.ints(1))
    return g.op("Where", loud, token, g.ints(0))


def _last(g: GraphBuilder, ids: str, last: str) -> str:
    for frame in (0, 2):
        token = _column(g, ids, frame)
        last = g.op("Where", g.op("Greater", token, g.ints(0)), token, last)
    return last


def _column(g: GraphBuilder, tensor: str, index: int) -> str:
    return g.op("Slice", tensor, g.ints([index]), g.ints([index + 1]), g.ints([1]))


def counter_expected(pcm: np.ndarray, start_search: frozenset[int] = frozenset()) -> np.ndarray:
    """What the counter emits for whole chunks of `pcm` f32[n * 320], in numpy: i64[n, 4].

    `start_search` lists the chunks before which the group `search` begins anew.
    """
    total = last = 0
    rows = []
    for index, chunk in enumerate(pcm.reshape(-1, 4, FRAME)):
        last = 0 if index in start_search else last
        loudness = np.round(np.abs(chunk).mean(1) * np.float32(200)).astype(np.int64)
        sums = total + np.cumsum(loudness)
        loud = (loudness >= 2) & (np.arange(4) % 2 == 0)
        ids = np.where(loud, (sums + last) % 10 + 1, 0)
        total = int(sums[-1])
        last = int(ids[ids > 0][-1]) if loud.any() else last
        rows.append(ids)
    return np.stack(rows) if rows else np.zeros((0, 4), np.int64)


def write_counter_asr(folder: Path, name: str = "counter-asr", version: str = "1.0.0") -> Path:
    """Write the counter to `folder/name` and return that path."""
    entry = {
        "inputs": [tensor("pcm", "TYPE_FP32", CHUNK)],
        "outputs": [tensor("ids", "TYPE_INT64", 4), tensor("logp", "TYPE_FP32", 4)],
        "pools": ["stream"],
        "groups": ["encoder", "search"],
        "reads": ["total", "last"],
        "writes": ["total", "last"],
        "audio": {"input": "pcm", "chunk_samples": CHUNK, "hop_samples": CHUNK, "delay_samples": CHUNK},
    }
    manifest: dict[str, Any] = {
        "languages": ["en"],
        "sample_rate": 16000,
        "task": {
            "kind": "transcribe",
            "roles": {"pcm": "step.pcm", "token_ids": "step.ids", "token_logp": "step.logp"},
            "parameters": {"blank_id": 0, "frame_samples": FRAME, "token_delay_samples": 0, "flush_samples": CHUNK},
            "assets": {"tokens": "tokens.txt"},
        },
        "pools": [{"name": "stream"}],
        "states": STATES,
    }
    return write_bundle(folder, name, version, {"step": (counter_model(), entry)}, manifest, {"tokens.txt": TOKENS})
