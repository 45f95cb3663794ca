"""Whether the features inside a bundle are the ones that sherpa-onnx will compute in their place."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from streamer.bundle.manifest import Graph, Manifest
from streamer.bundle.sherpa.export_graphs import LOG_MEL, cut_with_states
from streamer.bundle.sherpa.filterbank import FILTERBANKS, FLOOR, HOP, WINDOW, basis, mel_filters
from streamer.errors import BundleError
from streamer.work import Array

_CHUNKS = 3
_TOLERANCE = 1e-3


def check_front_end(model: onnx.ModelProto, manifest: Manifest, graph: Graph) -> tuple[int, int]:
    """Compare `log_mel` of `graph` with Kaldi's filterbank, one row late; return its rows per chunk and bands.

    Raises `BundleError` saying by how much they differ.
    """
    assert graph.audio is not None  # checked with the roles
    samples = graph.audio.chunk_samples
    signal = (np.random.default_rng(0).standard_normal(_CHUNKS * samples) * 0.1).astype(np.float32)
    chunks = _run(model, manifest, graph, signal.reshape(_CHUNKS, samples))
    found = np.concatenate(chunks)
    if found.ndim != 2 or len(found) * HOP != len(signal):
        got = f"{list(chunks[0].shape)} for {samples} samples"
        raise BundleError(f"bundle {manifest.name}: log_mel: expected a row per {HOP} samples, got {got}")
    silence = np.full((1, found.shape[1]), np.log(FLOOR))
    expected = np.concatenate([silence, kaldi_frames(signal, len(found) - 1, found.shape[1])])
    worst = float(np.abs(found - expected).max())
    if not worst <= _TOLERANCE:
        allowed = f"differs from Kaldi's filterbank by {worst:.2g}, allowed {_TOLERANCE:g}"
        raise BundleError(f"bundle {manifest.name}: log_mel {allowed}: sherpa-onnx would feed it other features")
    return len(chunks[0]), found.shape[1]


def kaldi_frames(signal: Array, count: int, mels: int) -> Array:
    """The first `count` frames f64[count, mels] of the filterbank that sherpa-onnx gives to k2's models."""
    bank = FILTERBANKS["k2"]
    place = np.arange(WINDOW) + HOP * np.arange(count)[:, None] - (WINDOW - HOP) // 2
    spectrum = signal.astype(np.float64)[np.where(place < 0, -1 - place, place)] @ basis(bank)
    power = np.square(spectrum).reshape(count, 2, -1).sum(1)
    return np.asarray(np.log(np.maximum(power @ mel_filters(bank, mels), FLOOR)))


def _run(model: onnx.ModelProto, manifest: Manifest, graph: Graph, chunks: Array) -> list[Array]:
    """Run the front end alone over the chunks of one stream."""
    part, states = cut_with_states(model, manifest, [], LOG_MEL)
    session = _session(part.model, part.nodes, part.needs, [LOG_MEL, *(f"{state.name}_out" for state in states)])
    arenas = {state.name: np.full((1, *state.dims), state.initial_state, state.dtype) for state in states}
    given = {f"slots_{pool}": np.zeros(1, np.int64) for pool in graph.pools}
    rows = []
    for index, chunk in enumerate(chunks):
        feeds = {**given, **arenas, **{f"start_{group}": np.array([index == 0]) for group in graph.groups}}
        feeds[manifest.role("pcm")[1]] = chunk[None]
        log_mel, *after = session.run(None, {name: feeds[name] for name in part.needs})
        arenas = dict(zip(arenas, after, strict=True))
        rows.append(np.asarray(log_mel[0]))
    return rows


def _session(
    model: onnx.ModelProto, nodes: tuple[onnx.NodeProto, ...], inputs: frozenset[str], outputs: list[str]
) -> ort.InferenceSession:
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    given = [value for value in model.graph.input if value.name in inputs]
    read = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    part = helper.make_model(
        helper.make_graph(list(nodes), "front_end", given, made, weights),
        opset_imports=model.opset_import,
        functions=model.functions,
        ir_version=model.ir_version,
    )
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
