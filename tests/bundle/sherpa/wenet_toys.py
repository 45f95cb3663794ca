"""A WeNet CTC model as sherpa-onnx expects it, small and with random weights; it reads caches, counts and mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.bundle.sherpa.toy_files import Value, random, write, write_tokens

PIECES = ["<blank>", "<unk>", *(chr(97 + index) for index in range(10))]
CHUNK, LEFT, FACTOR, CONTEXT = 8, 2, 4, 6
FRAMES = (CHUNK - 1) * FACTOR + CONTEXT + 1
_HEADS, _BLOCKS, _WIDTH, _KERNEL = 2, 2, 6, 5
_FIRST = 12
_F, _I64, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def metadata(**changes: Any) -> dict[str, Any]:
    """What the file says; a value of None removes a key."""
    entries: dict[str, Any] = {
        "model_type": "wenet_ctc", "head": _HEADS, "num_blocks": _BLOCKS, "output_size": _WIDTH,
        "cnn_module_kernel": _KERNEL, "right_context": CONTEXT, "subsampling_factor": FACTOR,
        "vocab_size": len(PIECES), "chunk_size": CHUNK, "left_chunks": LEFT,
    }  # fmt: skip
    entries |= changes
    return {key: value for key, value in entries.items() if value is not None}


def write_model(folder: Path, positions: int = 1 << 20, **changes: Any) -> Path:
    """Write model and tokens; the model has a table of `positions`.

    The attention cache is the last `LEFT * CHUNK` frames of some features; what the mask allows of it is averaged.
    """
    node, required = helper.make_node, LEFT * CHUNK
    attention: list[int | str] = [_BLOCKS, _HEADS, required, 2 * _WIDTH // _HEADS]
    convolution: list[int | str] = [_BLOCKS, 1, _WIDTH, _KERNEL - 1]
    nodes = [
        node("Slice", ["x", "begin", "end", "axes", "steps"], ["some"]),
        node("Mul", ["some", "tenth"], ["scaled"]),
        node("Slice", ["scaled", "zero", "width", "last"], ["narrow"]),
        node("Unsqueeze", ["narrow", "first"], ["row"]),
        node("Expand", ["row", "new_shape"], ["new"]),
        node("Concat", ["attention", "new"], ["all"], axis=2),
        node("Neg", ["required"], ["back"]),
        node("Slice", ["all", "back", "most", "third"], ["attention_out"]),
        node("Cast", ["mask"], ["weights"], to=_F),
        node("Unsqueeze", ["weights", "last"], ["column"]),
        node("Mul", ["all", "column"], ["allowed"]),
        node("ReduceMean", ["allowed"], ["attended"], axes=[0, 1, 2, 3], keepdims=1),
        node("Reshape", ["attended", "ones"], ["attended_mean"]),
        node("ReduceMean", ["convolution"], ["convolved"], axes=[0, 1, 2, 3], keepdims=1),
        node("Reshape", ["convolved", "ones"], ["convolved_mean"]),
        node("Add", ["convolution", "tenth"], ["convolution_out"]),
        node("Add", ["offset", "chunk"], ["reach"]),
        node("Gather", ["table", "reach"], ["place"]),
        node("Add", ["scaled", "attended_mean"], ["a"]),
        node("Add", ["a", "convolved_mean"], ["b"]),
        node("Add", ["b", "place"], ["c"]),
        node("Sin", ["c"], ["waves"]),
        node("MatMul", ["waves", "weight"], ["raw"]),
        node("LogSoftmax", ["raw"], ["log_probs"], axis=-1),
    ]
    weights = {
        "begin": np.array([0, 0]), "end": np.array([FACTOR * CHUNK, _FIRST]), "axes": np.array([1, 2]),
        "steps": np.array([FACTOR, 1]), "tenth": np.float32(0.1), "zero": np.array([0]),
        "width": np.array([_WIDTH]), "last": np.array([-1]), "first": np.array([1]),
        "new_shape": np.array([_BLOCKS, _HEADS, CHUNK, _WIDTH]), "most": np.array([1 << 40]), "third": np.array([2]),
        "ones": np.array([1, 1, 1]), "chunk": np.array([CHUNK - 1]),
        "table": np.arange(positions, dtype=np.float32) / 10, "weight": random(5, _FIRST, len(PIECES)),
    }  # fmt: skip
    inputs: list[Value] = [
        ("x", _F, ["N", "T", 80]), ("offset", _I64, [1]), ("required", _I64, [1]),
        ("attention", _F, [_BLOCKS, _HEADS, "left", _WIDTH]), ("convolution", _F, convolution),
        ("mask", _BOOL, [1, 1, "span"]),
    ]  # fmt: skip
    outputs: list[Value] = [
        ("log_probs", _F, ["N", "U", len(PIECES)]), ("attention_out", _F, attention),
        ("convolution_out", _F, convolution),
    ]  # fmt: skip
    write(folder / "model.onnx", nodes, inputs, outputs, weights, metadata(**changes))
    write_tokens(folder, PIECES)
    return folder
