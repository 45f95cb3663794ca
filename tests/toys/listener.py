"""A voice activity detector that takes loud frames for speech and says so two frames late, through its state.

A frame is 80 samples (5 ms), a chunk is 4 frames. Frames of mean |pcm| from 0.05 on have probability 0.9, others 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

CHUNK = 320
FRAME = 80
LATE = 2


def _step() -> bytes:
    g = GraphBuilder()
    pcm = g.row_input("pcm", "TYPE_FP32", (CHUNK,))
    slots, start = g.slots("stream"), g.start("encoder")
    late = g.arena("late", "TYPE_FP32", (LATE,))
    frames = g.op("Reshape", g.op("Abs", pcm), g.ints([-1, 4, FRAME]))
    mean = g.op("ReduceMean", frames, g.ints([2]), keepdims=0)
    loud = g.cast(g.op("GreaterOrEqual", mean, g.floats(0.05)), "TYPE_FP32")
    speech = g.op("Mul", loud, g.floats(0.9))
    line = g.op("Concat", g.gather(late, slots, start), speech, axis=1)
    rest = g.op("Slice", line, g.ints([4]), g.ints([4 + LATE]), g.ints([1]))
    g.scatter(late, slots, rest, "TYPE_FP32", (LATE,))
    g.row_output(g.op("Slice", line, g.ints([0]), g.ints([4]), g.ints([1])), "speech", "TYPE_FP32", (4,))
    return g.model()


def write_listener(folder: Path) -> Path:
    """Write the bundle to `folder/listener`."""
    step: dict[str, Any] = {
        "inputs": [tensor("pcm", "TYPE_FP32", CHUNK)],
        "outputs": [tensor("speech", "TYPE_FP32", 4)],
        "pools": ["stream"],
        "groups": ["encoder"],
        "reads": ["late"],
        "writes": ["late"],
        "audio": {
            "input": "pcm",
            "chunk_samples": CHUNK,
            "hop_samples": CHUNK,
            "delay_samples": CHUNK + LATE * FRAME,
        },
    }
    manifest: dict[str, Any] = {
        "sample_rate": 16000,
        "task": {
            "kind": "vad",
            "roles": {"pcm": "step.pcm", "speech": "step.speech"},
            "parameters": {"frame_samples": FRAME, "speech_delay_samples": LATE * FRAME},
        },
        "pools": [{"name": "stream"}],
        "states": [state("late", "TYPE_FP32", (LATE,), "stream", "encoder")],
    }
    return write_bundle(folder, "listener", "1.0.0", {"step": (_step(), step)}, manifest)
