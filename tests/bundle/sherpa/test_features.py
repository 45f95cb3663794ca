"""Features computed in the graph against their definition, chunk by chunk."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.features import FeatureSpec, add_features
from tests.bundle.sherpa.reference_features import features

KINDS = ["k2", "wenet", "paraformer", "nemo"]


def session(spec: FeatureSpec) -> ort.InferenceSession:
    builder = GraphBuilder()
    pcm = builder.input("pcm", "TYPE_FP32", [spec.chunk_samples])
    carry = builder.input("carry", "TYPE_FP32", [spec.carry_samples])
    rows, after = add_features(builder, spec, pcm, carry, builder.start())
    builder.output("features", rows, "TYPE_FP32", [spec.frames, spec.mels])
    builder.output("after", after, "TYPE_FP32", [spec.carry_samples])
    return ort.InferenceSession(builder.model().SerializeToString(), providers=["CPUExecutionProvider"])


def run(spec: FeatureSpec, signals: np.ndarray, chunks: int) -> list[np.ndarray]:
    """The features of each chunk of `signals` [B, n]; the carry is dirt at first."""
    graph, carry = session(spec), np.full((len(signals), spec.carry_samples), 7, np.float32)
    rows = []
    for chunk in range(chunks):
        begin = chunk * spec.hop_samples
        pcm = signals[:, begin : begin + spec.chunk_samples]
        feeds = {"pcm": pcm, "carry": carry, "start_encoder": np.full(len(signals), chunk == 0)}
        found, carry = graph.run(None, feeds)
        rows.append(found)
    return rows


def sweep(seed: int, samples: int) -> np.ndarray:
    """A rising tone in noise, with digital silence in it and a constant offset."""
    rng, time = np.random.default_rng(seed), np.arange(samples) / 16000
    signal = 0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time) + 0.05 * rng.standard_normal(samples) + 0.02
    signal[samples // 3 : samples // 3 + 900] = 0
    return signal.astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("frames", "hop_frames"), [(9, 7), (5, 5), (6, 2)])
def test_chunks_hold_the_features_of_the_whole_signal(kind: str, frames: int, hop_frames: int) -> None:
    """Whatever overlap the model wants, every chunk of every row of a batch holds the rows of the definition."""
    # Without a floor above them, the faintest bands of wenet's loud samples lose digits in float32.
    tolerance = 3e-4 if kind == "wenet" else 1e-4
    spec = FeatureSpec(kind, frames, hop_frames)
    signals = np.stack([sweep(seed, 6000) for seed in range(2)])
    for chunk, rows in enumerate(run(spec, signals, 3)):
        for signal, found in zip(signals, rows, strict=True):
            expected = features(kind, signal, chunk * hop_frames, frames)
            np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("mels", [40, 128])
def test_models_may_want_other_numbers_of_bands(mels: int) -> None:
    """The number of bands is the model's; narrow bands may hold no bin of the spectrum at all."""
    rows = run(FeatureSpec("nemo", 5, 5, mels), sweep(0, 4000)[None], 2)
    np.testing.assert_allclose(rows[1][0], features("nemo", sweep(0, 4000), 5, 5, mels), atol=1e-4, rtol=0)


def test_a_chunk_ends_with_its_last_frame() -> None:
    """A chunk takes exactly the samples its frames need: those of 25 ms windows every 10 ms, less what it carries."""
    centred, others = FeatureSpec("k2", 45, 32), FeatureSpec("paraformer", 61, 60)
    assert (centred.chunk_samples, centred.hop_samples, centred.carry_samples) == (44 * 160 + 280, 5120, 120)
    assert (others.chunk_samples, others.hop_samples, others.carry_samples) == (60 * 160 + 400, 9600, 0)


def test_only_streams_that_begin_are_mirrored() -> None:
    """In one batch, a stream that begins sees its own first samples in reverse, one that goes on sees its carry."""
    spec = FeatureSpec("k2", 3, 3)
    signal = sweep(3, 2000)
    pcm = signal[480 : 480 + spec.chunk_samples]
    feeds = {
        "pcm": np.stack([pcm, pcm]),
        "carry": np.stack([signal[360:480]] * 2),
        "start_encoder": np.array([True, False]),
    }
    begun, gone_on = session(spec).run(["features"], feeds)[0]
    np.testing.assert_allclose(begun, features("k2", pcm, 0, 3), atol=1e-4, rtol=0)
    np.testing.assert_allclose(gone_on, features("k2", signal, 3, 3), atol=1e-4, rtol=0)
