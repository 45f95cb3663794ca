"""A transcriber that is never quite sure: the loudness of a frame says how likely each vowel is.

A frame is 80 samples (5 ms), a chunk is 4 frames. Frames of mean |pcm| 0.1 are "a" rather than "e", of 0.2 "o" rather
than "u", silent ones blank. The graph `step` has no context and picks the likeliest; the joiner knows that "u" follows
"a".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

CHUNK = 320
FRAME = 80
PIECES = ("<blk>", "\u2581a", "\u2581e", "\u2581o", "\u2581u")
TOKENS = "".join(f"{piece} {index}\n" for index, piece in enumerate(PIECES)).encode()
_LEVELS = np.log([[1.0, 1e-6, 1e-6, 1e-6, 1e-6], [0.1, 0.5, 0.3, 0.05, 0.05], [0.1, 0.05, 0.05, 0.5, 0.3]])
# Added after each context: eight times as much "u" after "a".
_CONTEXTS = np.zeros((len(PIECES), len(PIECES)))
_CONTEXTS[1, 4] = np.log(8)
_LOUDNESS = {"a": 0.1, "o": 0.2}


def vowels_pcm(text: str, gap_frames: int = 40) -> np.ndarray:
    """Audio f32[n] of vowels that greedy search takes for `text`, with silence around each."""
    silence = np.zeros(gap_frames * FRAME, np.float32)
    frames = [np.full(FRAME, _LOUDNESS[word], np.float32) for word in text.split()]
    return np.concatenate([silence, *(part for frame in frames for part in (frame, silence))])


def _step() -> bytes:
    g = GraphBuilder()
    pcm = g.row_input("pcm", "TYPE_FP32", (CHUNK,))
    slots, start = g.slots("stream"), g.start("encoder")
    chunks = g.arena("chunks", "TYPE_INT64", (1,))
    g.scatter(chunks, slots, g.op("Add", g.gather(chunks, slots, start, 0, np.int64), g.ints(1)), "TYPE_INT64", (1,))
    frames = g.op("Reshape", g.op("Abs", pcm), g.ints([-1, 4, FRAME]))
    level = g.op("Round", g.op("Mul", g.op("ReduceMean", frames, g.ints([2]), keepdims=1), g.floats(10)))
    scores = _scores(g, g.op("Squeeze", level, g.ints([2])))
    g.row_output(level, "encoded", "TYPE_FP32", (4, 1))
    g.row_output(g.op("ArgMax", scores, axis=2, keepdims=0), "ids", "TYPE_INT64", (4,))
    g.row_output(g.op("ReduceMax", scores, g.ints([2]), keepdims=0), "logp", "TYPE_FP32", (4,))
    return g.model()


def _joint() -> bytes:
    g = GraphBuilder()
    encoded = g.row_input("encoded", "TYPE_FP32", (1,))
    contexts = g.row_input("contexts", "TYPE_INT64", (-1, 2))
    last = g.op("Gather", contexts, g.ints(1), axis=2)
    scores = g.op("Add", _scores(g, encoded), g.op("Gather", g.floats(_CONTEXTS), last, axis=0))
    g.row_output(g.op("LogSoftmax", scores, axis=2), "log_probs", "TYPE_FP32", (-1, len(PIECES)))
    return g.model()


def _scores(g: GraphBuilder, levels: str) -> str:
    """Log-probabilities without context of levels f32[B, n]: f32[B, n, V]."""
    index = g.cast(g.op("Min", levels, g.floats(len(_LEVELS) - 1)), "TYPE_INT64")
    return g.op("Gather", g.floats(_LEVELS - np.log(np.exp(_LEVELS).sum(1, keepdims=True))), index, axis=0)


def write_vowels(folder: Path) -> Path:
    """Write the bundle to `folder/vowels`."""
    step: dict[str, Any] = {
        "inputs": [tensor("pcm", "TYPE_FP32", CHUNK)],
        "outputs": [
            tensor("encoded", "TYPE_FP32", 4, 1),
            tensor("ids", "TYPE_INT64", 4),
            tensor("logp", "TYPE_FP32", 4),
        ],
        "pools": ["stream"],
        "groups": ["encoder"],
        "reads": ["chunks"],
        "writes": ["chunks"],
        "audio": {"input": "pcm", "chunk_samples": CHUNK, "hop_samples": CHUNK, "delay_samples": CHUNK},
    }
    joint = {
        "inputs": [tensor("encoded", "TYPE_FP32", 1), tensor("contexts", "TYPE_INT64", -1, 2)],
        "outputs": [tensor("log_probs", "TYPE_FP32", -1, len(PIECES))],
    }
    roles = {"pcm": "step.pcm", "token_ids": "step.ids", "token_logp": "step.logp", "encoded": "step.encoded"}
    roles |= {"joint_encoded": "joint.encoded", "joint_contexts": "joint.contexts", "log_probs": "joint.log_probs"}
    parameters = {"blank_id": 0, "frame_samples": FRAME, "token_delay_samples": 0, "flush_samples": CHUNK}
    manifest: dict[str, Any] = {
        "sample_rate": 16000,
        "task": {
            "kind": "transcribe",
            "program": "beam_search",
            "roles": roles,
            "parameters": {**parameters, "context_size": 2},
            "assets": {"tokens": "tokens.txt"},
        },
        "pools": [{"name": "stream"}],
        "states": [state("chunks", "TYPE_INT64", (1,), "stream", "encoder")],
    }
    graphs = {"step": (_step(), step), "joint": (_joint(), joint)}
    return write_bundle(folder, "vowels", "1.0.0", graphs, manifest, {"tokens.txt": TOKENS})
