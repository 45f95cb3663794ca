"""The features of sherpa-onnx itself, read out of it by a model that says nothing else, against those in the graph.

The model has an output frame for every band of every row; its joiner lets token `a` win always and puts the band's
value into its lead over token `b`, so that the log-probability that sherpa-onnx tells can be turned back into it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sherpa_onnx
from onnx import TensorProto, helper

from streamer.bundle.sherpa.features import FeatureSpec
from tests.bundle.sherpa.peer import hear
from tests.bundle.sherpa.test_features import run, sweep
from tests.bundle.sherpa.toy_files import Value, write, write_tokens

ROWS, MELS = 5, 80
_F, _I64, _I32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
# The lead of token a is (value + 20) / 10; sherpa-onnx repeats NeMo's tokens, ten in each frame.
_OFFSET, _SCALE = 20.0, 10.0
_SYMBOLS = {"k2": 1, "nemo": 10}


def write_k2(folder: Path) -> list[str]:
    node, n = helper.make_node, "N"
    about = {"model_type": "lstm", "version": 1, "num_encoder_layers": 1, "T": ROWS, "decode_chunk_len": ROWS}
    states: list[Value] = [("h", _F, [1, n, 4]), ("c", _F, [1, n, 1])]
    write(
        folder / "encoder.onnx",
        [node("Reshape", ["x", "shape"], ["out"]), *(node("Identity", [s], [f"{s}_out"]) for s in "hc")],
        [("x", _F, [n, ROWS, MELS]), *states],
        [("out", _F, [n, ROWS * MELS, 1]), *((f"{name}_out", kind, dims) for name, kind, dims in states)],
        {"shape": np.array([0, ROWS * MELS, 1])},
        {**about, "rnn_hidden_size": 1, "d_model": 4},
    )
    write(
        folder / "decoder.onnx",
        [
            node("Cast", ["y"], ["f"], to=_F),
            node("ReduceSum", ["f", "axis"], ["s"]),
            node("Mul", ["s", "zero"], ["out"]),
        ],
        [("y", _I64, [n, 2])],
        [("out", _F, [n, 1])],
        {"axis": np.array([1]), "zero": np.float32(0)},
        {"vocab_size": 3, "context_size": 2},
    )
    write_joiner(folder, [n, 1], blank=0)
    return ["<blk>", "a", "b"]


def write_nemo(folder: Path) -> list[str]:
    node, n = helper.make_node, "N"
    about: dict[str, Any] = {"vocab_size": 2, "window_size": ROWS, "chunk_shift": ROWS, "subsampling_factor": 8}
    about |= {"normalize_type": "", "pred_rnn_layers": 1, "pred_hidden": 4}
    about |= {f"cache_last_{name}_dim{axis}": 2 for name in ("channel", "time") for axis in (1, 2, 3)}
    states: list[Value] = [("a", _F, [n, 2, 2, 2]), ("b", _F, [n, 2, 2, 2]), ("l", _I64, [n])]
    copies = [node("Identity", [name], [f"{name}_out"]) for name, _, _ in states]
    write(
        folder / "encoder.onnx",
        [
            node("Transpose", ["x"], ["rows"], perm=[0, 2, 1]),
            node("Reshape", ["rows", "shape"], ["out"]),
            node("Identity", ["length"], ["length_out"]),
            *copies,
        ],
        [("x", _F, [n, MELS, ROWS]), ("length", _I64, [n]), *states],
        [
            ("out", _F, [n, 1, ROWS * MELS]),
            ("length_out", _I64, [n]),
            *((f"{name}_out", kind, dims) for name, kind, dims in states),
        ],
        {"shape": np.array([0, 1, ROWS * MELS])},
        about,
    )
    state: list[int | str] = [1, n, 4]
    write(
        folder / "decoder.onnx",
        [
            node("Cast", ["y"], ["f"], to=_F), node("Mul", ["f", "zero"], ["s"]),
            node("Unsqueeze", ["s", "axis"], ["out"]), node("Identity", ["l"], ["l_out"]),
            *(node("Identity", [name], [f"{name}_out"]) for name in "hc"),
        ],
        [("y", _I32, [n, 1]), ("l", _I32, [n]), ("h", _F, state), ("c", _F, state)],
        [("out", _F, [n, 1, 1]), ("l_out", _I32, [n]), ("h_out", _F, state), ("c_out", _F, state)],
        {"axis": np.array([2]), "zero": np.float32(0)},
        {},
    )  # fmt: skip
    write_joiner(folder, [n, 1, 1], blank=2)
    return ["a", "b", "<blk>"]


def write_joiner(folder: Path, dims: list[int | str], blank: int) -> None:
    lead, bias = np.zeros(3, np.float32), np.zeros(3, np.float32)
    other = 2 if blank == 0 else 1
    lead[other], bias[other], bias[blank] = -1 / _SCALE, -_OFFSET / _SCALE, -1000
    write(
        folder / "joiner.onnx",
        [
            helper.make_node("Add", ["e", "p"], ["sum"]),
            helper.make_node("Mul", ["sum", "lead"], ["scaled"]),
            helper.make_node("Add", ["scaled", "bias"], ["out"]),
        ],
        [("e", _F, dims), ("p", _F, dims)],
        [("out", _F, [*dims[:-1], 3])],
        {"lead": lead, "bias": bias},
        {},
    )


@pytest.mark.parametrize("kind", ["k2", "nemo"])
def test_features_are_those_of_sherpa_onnx(tmp_path: Path, kind: str) -> None:
    """Every band of every row, from the mirrored start through digital silence, to what its float32 allows."""
    pieces = {"k2": write_k2, "nemo": write_nemo}[kind](tmp_path)
    write_tokens(tmp_path, pieces)
    files = {part: str(tmp_path / f"{part}.onnx") for part in ("encoder", "decoder", "joiner")}
    options = {"temperature_scale": 1.0} if kind == "k2" else {}
    recogniser = sherpa_onnx.OnlineRecognizer.from_transducer(
        num_threads=1, tokens=str(tmp_path / "tokens.txt"), **files, **options
    )
    signal = sweep(0, 8000)
    logps = np.array(hear(recogniser, signal, pieces).logps[:: _SYMBOLS[kind]], np.float64)
    heard = (np.log(np.expm1(-logps)) * -_SCALE - _OFFSET).reshape(-1, ROWS, MELS)
    assert len(heard) > 7
    found = run(FeatureSpec(kind, ROWS, ROWS), signal[None], len(heard))
    np.testing.assert_allclose(np.concatenate(found), heard, atol=6e-4, rtol=0)
    assert np.abs(np.concatenate(found) - heard).mean() < 2e-5
