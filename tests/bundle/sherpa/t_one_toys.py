"""A T-one model as sherpa-onnx expects it, small and with random weights: raw samples in, a state of half floats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.bundle.sherpa.toy_files import Value, random, write, write_tokens

RATE, BLOCK, FRAMES, STATE = 8000, 2400, 10, 6
PIECES = [*(chr(0x430 + index) for index in range(11)), "<blk>"]
_STEP = BLOCK // FRAMES


def write_model(folder: Path, batch: str | int = "N", **changes: Any) -> Path:
    """Write model and tokens: frames are mixtures of their samples and the state, the state a mean of the past."""
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["loud"], to=TensorProto.FLOAT),
        node("Mul", ["loud", "scale"], ["samples"]),
        node("Reshape", ["samples", "shape"], ["frames"]),
        node("MatMul", ["frames", "into"], ["mixed"]),
        node("Cast", ["state"], ["memory"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["memory", "first"], ["row"]),
        node("Add", ["mixed", "row"], ["both"]),
        node("Sin", ["both"], ["waves"]),
        node("MatMul", ["waves", "out"], ["raw"]),
        node("LogSoftmax", ["raw"], ["log_probs"], axis=-1),
        node("ReduceMean", ["waves"], ["mean"], axes=[1], keepdims=0),
        node("Add", ["memory", "mean"], ["more"]),
        node("Cast", ["more"], ["state_out"], to=TensorProto.FLOAT16),
    ]
    weights = {
        "scale": np.float32(1 / 32768), "shape": np.array([-1, FRAMES, _STEP]), "first": np.array([1]),
        "into": random(1, _STEP, STATE), "out": random(2, STATE, len(PIECES)),
    }  # fmt: skip
    inputs: list[Value] = [("x", TensorProto.INT32, [batch, BLOCK, 1]), ("state", TensorProto.FLOAT16, [batch, STATE])]
    outputs: list[Value] = [("log_probs", TensorProto.FLOAT, [batch, FRAMES, len(PIECES)])]
    outputs.append(("state_out", TensorProto.FLOAT16, [batch, STATE]))
    about = {"model_type": "t-one", "frame_length_ms": 300, "state_dim": STATE, "sample_rate": RATE, **changes}
    about = {key: value for key, value in about.items() if value is not None}
    write(folder / "model.onnx", nodes, inputs, outputs, weights, about)
    write_tokens(folder, PIECES)
    return folder


def write_echo(folder: Path) -> Path:
    """Write a model that says the remainder of one sample in every frame."""
    node = helper.make_node
    nodes = [
        node("Gather", ["x", "places"], ["some"], axis=1),
        node("Cast", ["some"], ["whole"], to=TensorProto.INT64),
        node("Mod", ["whole", "divisor"], ["rests"]),
        node("Squeeze", ["rests", "last"], ["ids"]),
        node("OneHot", ["ids", "depth", "values"], ["scores"]),
        node("Identity", ["state"], ["state_out"]),
    ]
    weights = {
        "places": np.arange(FRAMES) * _STEP, "divisor": np.int64(len(PIECES) - 1), "last": np.array([2]),
        "depth": np.int64(len(PIECES)), "values": np.array([0, 9], np.float32),
    }  # fmt: skip
    inputs: list[Value] = [("x", TensorProto.INT32, ["N", BLOCK, 1]), ("state", TensorProto.FLOAT16, ["N", STATE])]
    outputs: list[Value] = [("scores", TensorProto.FLOAT, ["N", FRAMES, len(PIECES)])]
    outputs.append(("state_out", TensorProto.FLOAT16, ["N", STATE]))
    about = {"model_type": "t-one", "frame_length_ms": 300, "state_dim": STATE, "sample_rate": RATE}
    write(folder / "model.onnx", nodes, inputs, outputs, weights, about)
    write_tokens(folder, PIECES)
    return folder
