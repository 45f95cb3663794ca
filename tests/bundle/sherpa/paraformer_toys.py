"""A streaming Paraformer as sherpa-onnx expects it, small and with random weights; its decoder reads every cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.bundle.sherpa.toy_files import Value, random, write, write_tokens

# With this decoder, start and end of sentence come out too, which are no text.
SEED = 13
WIDTH, BLOCKS, KERNEL, ROW = 16, 2, 4, 560
PIECES = ["<blank>", "<s>", "</s>", *(chr(0x4E00 + index) for index in range(37))]
MEAN = -np.random.default_rng(3).uniform(8, 12, ROW).astype(np.float32)
DEVIATION = np.random.default_rng(4).uniform(0.2, 0.3, ROW).astype(np.float32)
_F, _I64, _I32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


def metadata(**changes: Any) -> dict[str, Any]:
    """What the encoder says; a value of None removes a key."""
    entries: dict[str, Any] = {
        "model_type": "paraformer", "vocab_size": len(PIECES), "lfr_window_size": 7, "lfr_window_shift": 6,
        "encoder_output_size": WIDTH, "decoder_num_blocks": BLOCKS, "decoder_kernel_size": KERNEL,
        "neg_mean": ",".join(map(str, MEAN)), "inv_stddev": ",".join(map(str, DEVIATION)),
    }  # fmt: skip
    entries |= changes
    return {key: value for key, value in entries.items() if value is not None}


def write_model(folder: Path, rate: float = 0.0, long_caches: bool = False, **changes: Any) -> Path:
    """Write encoder, decoder and tokens; the higher `rate`, the more tokens.

    With `long_caches` the decoder returns the tokens of the chunk after what it was given, and takes as much.
    """
    _write_encoder(folder / "encoder.onnx", rate, metadata(**changes))
    _write_decoder(folder / "decoder.onnx", long_caches)
    write_tokens(folder, PIECES)
    return folder


def _write_encoder(path: Path, rate: float, about: dict[str, Any]) -> None:
    """Frames are waves of the row and of the mean of all rows, weights a sigmoid of another mixture."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "into"], ["wide"]),
        node("Sin", ["wide"], ["narrow"]),
        node("ReduceMean", ["narrow"], ["mean"], axes=[1], keepdims=1),
        node("Add", ["narrow", "mean"], ["frames"]),
        node("MatMul", ["narrow", "weigh"], ["scores"]),
        node("Add", ["scores", "rate"], ["raised"]),
        node("Sigmoid", ["raised"], ["column"]),
        node("Squeeze", ["column", "last"], ["alphas"]),
        node("Identity", ["length"], ["frame_count"]),
    ]
    weights = {
        "into": random(2, ROW, WIDTH) / 50, "weigh": random(3, WIDTH, 1), "rate": np.float32(rate),
        "last": np.array([2]),
    }  # fmt: skip
    inputs: list[Value] = [("x", _F, ["N", "t", ROW]), ("length", _I32, ["N"])]
    outputs: list[Value] = [("frames", _F, ["N", "t", WIDTH]), ("frame_count", _I32, ["N"]), ("alphas", _F, ["N", "t"])]
    write(path, nodes, inputs, outputs, weights, about)


def _write_decoder(path: Path, long_caches: bool) -> None:
    """A causal convolution of the embeddings and what was cached of them, block by block, beside the chunk's frames."""
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["frames"], ["context"], axes=[1], keepdims=1),
        node("Add", ["embeds", "context"], ["x0"]),
    ]
    for block in range(BLOCKS):
        nodes += [
            node("Transpose", [f"x{block}"], [f"columns{block}"], perm=[0, 2, 1]),
            node("Slice", [f"cache{block}", "back", "end", "last"], [f"past{block}"]),
            node("Concat", [f"past{block}", f"columns{block}"], [f"all{block}"], axis=2),
            node("Conv", [f"all{block}", f"kernel{block}"], [f"mixed{block}"], group=WIDTH),
            node("Slice", [f"all{block}", "whole" if long_caches else "back", "end", "last"], [f"cache{block}_out"]),
            node("Transpose", [f"mixed{block}"], [f"rows{block}"], perm=[0, 2, 1]),
            node("Tanh", [f"rows{block}"], [f"x{block + 1}"]),
        ]
    nodes += [
        node("MatMul", [f"x{BLOCKS}", "out"], ["logits"]),
        node("ArgMax", ["logits"], ["sample_ids"], axis=-1, keepdims=0),
    ]
    weights = {
        "back": np.array([-(KERNEL - 1)]), "end": np.array([1 << 40]), "last": np.array([2]),
        "out": random(SEED, WIDTH, len(PIECES)),
        **{f"kernel{block}": random(20 + block, WIDTH, 1, KERNEL) for block in range(BLOCKS)},
    }  # fmt: skip
    if long_caches:
        weights["whole"] = np.array([0])
    cache: list[int | str] = ["N", WIDTH, "past" if long_caches else KERNEL - 1]
    inputs: list[Value] = [("frames", _F, ["N", "t", WIDTH]), ("frame_count", _I32, ["N"])]
    inputs += [("embeds", _F, ["N", "k", WIDTH]), ("embed_count", _I32, ["N"])]
    inputs += [(f"cache{block}", _F, cache) for block in range(BLOCKS)]
    outputs: list[Value] = [("logits", _F, ["N", "k", len(PIECES)]), ("sample_ids", _I64, ["N", "k"])]
    outputs += [(f"cache{block}_out", _F, ["N", WIDTH, "next"] if long_caches else cache) for block in range(BLOCKS)]
    write(path, nodes, inputs, outputs, weights, {})
