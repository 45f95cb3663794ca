"""Integrate-and-fire in the graph: nothing is lost, and the cut into chunks does not matter."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.cif import add_cif

WIDTH, LENGTH = 3, 24


def session() -> ort.InferenceSession:
    builder = GraphBuilder()
    frames, weights = builder.input("frames", "TYPE_FP32", [-1, WIDTH]), builder.input("weights", "TYPE_FP32", [-1, 1])
    weight, gathered = builder.input("weight", "TYPE_FP32", [1]), builder.input("gathered", "TYPE_FP32", [WIDTH])
    fired = add_cif(
        builder,
        builder.op("Transpose", frames, perm=[1, 0, 2]),
        builder.op("Transpose", weights, perm=[1, 0, 2]),
        weight,
        gathered,
    )
    is_fired = builder.op("Transpose", fired.is_fired, perm=[1, 0])
    builder.output("is_fired", is_fired, "TYPE_BOOL", [-1])
    builder.output("embeddings", builder.op("Transpose", fired.embeddings, perm=[1, 0, 2]), "TYPE_FP32", [-1, WIDTH])
    builder.output("left", fired.weight, "TYPE_FP32", [1])
    builder.output("kept", fired.gathered, "TYPE_FP32", [WIDTH])
    return ort.InferenceSession(builder.model().SerializeToString(), providers=["CPUExecutionProvider"])


def example(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    frames = rng.standard_normal((rows, LENGTH, WIDTH)).astype(np.float32)
    return frames, rng.uniform(0, 0.99, (rows, LENGTH, 1)).astype(np.float32)


def integrate(
    frames: np.ndarray, weights: np.ndarray, chunk: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    graph, rows = session(), len(frames)
    weight, gathered = np.zeros((rows, 1), np.float32), np.zeros((rows, WIDTH), np.float32)
    fired, embeddings = [], []
    for begin in range(0, LENGTH, chunk):
        feeds = {"frames": frames[:, begin : begin + chunk], "weights": weights[:, begin : begin + chunk]}
        is_fired, embedding, weight, gathered = graph.run(None, {**feeds, "weight": weight, "gathered": gathered})
        fired.append(is_fired)
        embeddings.append(embedding)
    return np.concatenate(fired, 1), np.concatenate(embeddings, 1), weight, gathered


@pytest.mark.parametrize("chunk", [1, 5, LENGTH])
def test_an_embedding_gathers_a_weight_of_one(chunk: int) -> None:
    """Token k is the frames between total weights k and k + 1, a frame at a border divided among both."""
    frames, weights = example(2)
    is_fired, embeddings, _, _ = integrate(frames, weights, chunk)
    ends = weights[..., 0].astype(np.float64).cumsum(1)
    begins = ends - weights[..., 0]
    for row in range(2):
        places = np.flatnonzero(is_fired[row])
        assert places.tolist() == [int(np.searchsorted(ends[row], token)) for token in range(1, len(places) + 1)]
        assert len(places) == int(ends[row, -1]) > 5
        for token, place in enumerate(places):
            shares = np.clip(np.minimum(ends[row], token + 1) - np.maximum(begins[row], token), 0, None)
            np.testing.assert_allclose(embeddings[row, place], shares @ frames[row], atol=1e-5)


def test_what_is_left_is_the_rest() -> None:
    """After the last token, the rest of the weights and of the frames is kept."""
    frames, weights = example(1)
    is_fired, embeddings, weight, gathered = integrate(frames, weights, 5)
    np.testing.assert_allclose(weight[0, 0], weights.sum() - is_fired.sum(), atol=1e-5)
    whole = (weights * frames).sum(1)[0]
    np.testing.assert_allclose(gathered[0], whole - embeddings[0, is_fired[0]].sum(0), atol=1e-5)


def test_a_weight_of_exactly_one_fires() -> None:
    """The threshold is reached, not passed."""
    frames = np.ones((1, LENGTH, WIDTH), np.float32)
    weights = np.full((1, LENGTH, 1), 0.5, np.float32)
    is_fired, _, weight, _ = integrate(frames, weights, LENGTH)
    assert is_fired[0].tolist() == [False, True] * (LENGTH // 2)
    assert weight.item() == 0
