"""Writes the files of toy models as sherpa-onnx reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Value = tuple[str, int, list[int | str]]


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[Value],
    outputs: list[Value],
    weights: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Write a model of `nodes`; `about` becomes its metadata."""
    graph = helper.make_graph(
        nodes, "toy",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(weight), name) for name, weight in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {key: str(value) for key, value in about.items()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def write_tokens(folder: Path, pieces: Sequence[str]) -> None:
    """Write `tokens.txt`, a line for every piece."""
    text = "".join(f"{piece} {index}\n" for index, piece in enumerate(pieces))
    (folder / "tokens.txt").write_text(text, encoding="utf-8")


def random(seed: int, *dims: int) -> np.ndarray:
    """Return the same float32 numbers for the same seed."""
    return np.random.default_rng(seed).standard_normal(dims).astype(np.float32)
