"""Dynamically quantised models run one stream at a time, because one scale for a batch would mix its rows."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from streamer.bundle.loader import load_bundle
from streamer.bundle.sherpa.importing import import_model
from streamer.bundle.sherpa.source import find_files
from streamer.bundle.sherpa.writer import About
from streamer.tasks.tokens import read_tokens
from tests.bundle.sherpa import k2_peer, served, toys


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A toy with int8 variants beside its files, made as icefall makes them."""
    folder = toys.write_toy(tmp_path / "model", "zipformer2")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it recommends a preparation that icefall leaves out
    for part in ("encoder", "decoder", "joiner"):
        quantize_dynamic(
            folder / f"{part}.onnx",
            folder / f"{part}.int8.onnx",
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
        )
    logging.root.setLevel(level)
    return folder


def test_quantised(source: Path, tmp_path: Path) -> None:
    """Int8 files are taken if asked for, say what sherpa-onnx says of them, and never share a batch."""
    files = find_files(source, prefer_int8=True)
    assert [path.name for path in files.values()] == ["decoder.int8.onnx", "encoder.int8.onnx", "joiner.int8.onnx"]
    folder = tmp_path / "bundle"
    folder.mkdir()
    tokens = source / "tokens.txt"
    import_model(files, tokens, read_tokens(tokens).pieces, folder, About("toy"))
    bundle = load_bundle(folder)
    assert [graph.max_batch for graph in bundle.manifest.graphs] == [1, 1]
    signals = served.speech(3)
    alone, together = served.run_alone(bundle, signals), served.run_together(bundle, signals)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.logps, other.logps)
    for path in files.values():
        path.replace(source / path.name.replace(".int8", ""))
    heard = k2_peer.listen(k2_peer.transducer(source), signals, toys.PIECES)
    for one, expected in zip(alone, heard, strict=True):
        ids, frames, _ = one.tokens(0, expected.chunks)
        assert (ids, frames) == (expected.ids, expected.frames)


def test_full_precision_comes_first(source: Path) -> None:
    """Unless asked for, int8 files are not taken."""
    assert [path.name for path in find_files(source).values()] == ["decoder.onnx", "encoder.onnx", "joiner.onnx"]
