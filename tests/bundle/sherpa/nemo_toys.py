"""NeMo models as sherpa-onnx expects them, small and with random weights; what they say depends on every state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.bundle.sherpa.toy_files import Value, random, write, write_tokens

VOCABULARY = 11
BLANK = VOCABULARY
WINDOW, SHIFT, FACTOR, FRAMES = 35, 32, 4, 8
LAYERS, HIDDEN, WIDTH = 2, 4, 16
CHANNEL, TIME = (2, 7, 6), (2, 6, 5)
_F, _I64, _I32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


def metadata(**changes: Any) -> dict[str, Any]:
    """What the encoder says; a value of None removes a key."""
    entries: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "window_size": WINDOW,
        "chunk_shift": SHIFT,
        "subsampling_factor": FACTOR,
        "normalize_type": "",
        "pred_rnn_layers": LAYERS,
        "pred_hidden": HIDDEN,
    }
    for name, dims in (("channel", CHANNEL), ("time", TIME)):
        entries |= {f"cache_last_{name}_dim{axis}": dim for axis, dim in enumerate(dims, start=1)}
    entries |= changes
    return {key: value for key, value in entries.items() if value is not None}


PIECES = [*(chr(97 + index) for index in range(VOCABULARY)), "<blk>"]


def write_ctc(folder: Path, batch: str | int = "N", **about: Any) -> Path:
    """A CTC model of one file, with its tokens."""
    _write_encoder(folder / "model.onnx", batch, metadata(**about), is_ctc=True)
    write_tokens(folder, PIECES)
    return folder


def write_transducer(
    folder: Path,
    batch: str | int = "N",
    decoder_batch: str | int = "N",
    blank_bias: float = 2.0,
    has_prompt: bool = False,
    **about: Any,
) -> Path:
    """A transducer of three files, with its tokens. The smaller `blank_bias`, the more symbols a frame has."""
    _write_encoder(folder / "encoder.onnx", batch, metadata(**about), is_ctc=False, has_prompt=has_prompt)
    _write_decoder(folder / "decoder.onnx", decoder_batch)
    _write_joiner(folder / "joiner.onnx", decoder_batch, blank_bias)
    write_tokens(folder, PIECES)
    return folder


def _write_encoder(path: Path, n: str | int, about: Mapping[str, Any], is_ctc: bool, has_prompt: bool = False) -> None:
    """Frames are a sine of every fourth row of features and of the mean of every state; states grow by one."""
    node = helper.make_node
    nodes = []
    if has_prompt:
        nodes += [
            node("Cast", ["prompt_index"], ["prompt"], to=_F),
            node("Reshape", ["prompt", "column"], ["prompted"]),
        ]
    for name in ("channel", "time"):
        nodes += [
            node("ReduceMean", [name], [f"{name}_all"], axes=[1, 2, 3], keepdims=0),
            node("Reshape", [f"{name}_all", "column"], [f"{name}_mean"]),
            node("Add", [name, "one" if name == "channel" else "two"], [f"{name}_out"]),
        ]
    nodes += [
        node("Transpose", ["x"], ["rows"], perm=[0, 2, 1]),
        node("Slice", ["rows", "begin", "end", "axes", "steps"], ["some"]),
        node("Mul", ["some", "quarter"], ["scaled"]),
        node("Cast", ["count"], ["counted"], to=_F),
        node("Reshape", ["counted", "column"], ["count_mean"]),
        node("Add", ["count", "one_integer"], ["count_out"]),
        node("Sub", ["scaled", "channel_mean"], ["part"]),
        node("Add", ["part", "time_mean"], ["more"]),
        node("Add", ["more", "count_mean"], ["all"]),
        node("Add", ["all", "prompted" if has_prompt else "two"], ["shifted"]),
        node("Sin", ["shifted"], ["waves"]),
        node("Identity", ["length"], ["length_out"]),
    ]
    if is_ctc:
        nodes += [node("MatMul", ["waves", "weight"], ["raw"]), node("LogSoftmax", ["raw"], ["out"], axis=-1)]
        out: Value = ("out", _F, [n, FRAMES, VOCABULARY + 1])
    else:
        nodes.append(node("Transpose", ["waves"], ["out"], perm=[0, 2, 1]))
        out = ("out", _F, [n, WIDTH, FRAMES])
    states: list[Value] = [("channel", _F, [n, *CHANNEL]), ("time", _F, [n, *TIME]), ("count", _I64, [n])]
    weights = {
        "begin": np.array([0, 0]), "end": np.array([FACTOR * FRAMES, WIDTH]), "axes": np.array([1, 2]),
        "steps": np.array([FACTOR, 1]), "quarter": np.float32(0.25), "column": np.array([-1, 1, 1]),
        "one": np.float32(1), "two": np.float32(2), "one_integer": np.int64(1),
    }  # fmt: skip
    if is_ctc:
        weights["weight"] = random(5, WIDTH, VOCABULARY + 1) * 0.6
    inputs: list[Value] = [("x", _F, [n, 80, WINDOW]), ("length", _I64, [n]), *states]
    if has_prompt:
        inputs.append(("prompt_index", _I64, [n]))
    outputs = [out, ("length_out", _I64, [n]), *((f"{name}_out", kind, dims) for name, kind, dims in states)]
    write(path, nodes, inputs, outputs, weights, about)


def _write_decoder(path: Path, n: str | int) -> None:
    """A recurrent predictor: its states remember all tokens, and its output reads both of them."""
    node = helper.make_node
    nodes = [
        node("Gather", ["embedding", "y"], ["embedded"]),
        node("Transpose", ["embedded"], ["token"], perm=[1, 0, 2]),
        node("Mul", ["h", "half"], ["faded"]),
        node("Add", ["faded", "token"], ["mixed"]),
        node("Tanh", ["mixed"], ["h_out"]),
        node("Mul", ["c", "half"], ["c_faded"]),
        node("Add", ["c_faded", "h_out"], ["c_out"]),
        node("Sub", ["h_out", "c_out"], ["both"]),
        node("ReduceMean", ["both"], ["mean"], axes=[0], keepdims=0),
        node("MatMul", ["mean", "weight"], ["flat"]),
        node("Unsqueeze", ["flat", "last"], ["out"]),
        node("Identity", ["l"], ["l_out"]),
    ]
    state = [LAYERS, n, HIDDEN]
    weights = {
        "embedding": random(6, VOCABULARY + 1, HIDDEN), "half": np.float32(0.5),
        "weight": random(7, HIDDEN, WIDTH), "last": np.array([2]),
    }  # fmt: skip
    inputs: list[Value] = [("y", _I32, [n, 1]), ("l", _I32, [n]), ("h", _F, state), ("c", _F, state)]
    outputs: list[Value] = [
        ("out", _F, [n, WIDTH, 1]), ("l_out", _I32, [n]), ("h_out", _F, state), ("c_out", _F, state)
    ]  # fmt: skip
    write(path, nodes, inputs, outputs, weights, {})


def _write_joiner(path: Path, n: str | int, blank_bias: float) -> None:
    node = helper.make_node
    nodes = [
        node("Add", ["e", "p"], ["sum"]),
        node("Tanh", ["sum"], ["bent"]),
        node("Transpose", ["bent"], ["row"], perm=[0, 2, 1]),
        node("MatMul", ["row", "weight"], ["scores"]),
        node("Add", ["scores", "bias"], ["flat"]),
        node("Unsqueeze", ["flat", "first"], ["out"]),
    ]
    bias = np.zeros(VOCABULARY + 1, np.float32)
    bias[BLANK] = blank_bias
    weights = {"weight": random(8, WIDTH, VOCABULARY + 1), "bias": bias, "first": np.array([1])}
    inputs: list[Value] = [("e", _F, [n, WIDTH, 1]), ("p", _F, [n, WIDTH, 1])]
    write(path, nodes, inputs, [("out", _F, [n, 1, 1, VOCABULARY + 1])], weights, {})
