"""The feature front ends of sherpa-onnx as ONNX nodes: PCM of one chunk to rows of log-mel energies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.filterbank import FILTERBANKS, FLOOR, HOP, WINDOW, Filterbank, Kind, basis, mel_filters

# Windows are put together from blocks of this many samples: the largest that divides hop and window.
_BLOCK = 80
# A centred frame begins this much before its hop.
_MIRRORED = (WINDOW - HOP) // 2


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Which features a chunk holds: `frames` of `mels` bands, of which the next chunk begins `hop_frames` later."""

    kind: Kind
    frames: int
    hop_frames: int
    mels: int = 80

    @property
    def bank(self) -> Filterbank:
        """The filterbank of `kind`."""
        return FILTERBANKS[self.kind]

    @property
    def carry_samples(self) -> int:
        """How many samples before a chunk its first frame needs: the state that a stream keeps; may be 0."""
        return _MIRRORED if self.bank.is_centred else 0

    @property
    def chunk_samples(self) -> int:
        """Samples of a chunk: up to the end of its last frame."""
        return (self.frames - 1) * HOP + WINDOW - self.carry_samples

    @property
    def hop_samples(self) -> int:
        """By how many samples chunks follow each other."""
        return self.hop_frames * HOP


def add_features(builder: GraphBuilder, spec: FeatureSpec, pcm: str, carry: str, first: str) -> tuple[str, str]:
    """Add the front end `spec`; returns the names of features f32[B, frames, mels] and of the new carry.

    `pcm` f32[B, chunk_samples] holds samples in [-1, 1], `carry` f32[B, carry_samples] the ones before the chunk. Where
    `first` bool[B], the stream begins and its first samples are mirrored before them. A front end whose
    `carry_samples` is 0 ignores `carry` and `first` and returns `carry` as it is.
    """
    signal, after = pcm, carry
    if spec.carry_samples:
        signal = builder.op("Concat", _before(builder, pcm, carry, first), pcm, axis=1)
        end = spec.hop_samples
        after = _columns(builder, pcm, end - spec.carry_samples, end)
    return _log_mel(builder, spec, _windows(builder, spec, signal)), after


def _before(builder: GraphBuilder, pcm: str, carry: str, first: str) -> str:
    """What stands before the chunk: the carry, or at the start the first samples in reverse."""
    backwards = builder.constant(np.arange(_MIRRORED)[::-1])
    mirrored = builder.op("Gather", pcm, backwards, axis=1)
    return builder.op("Where", builder.op("Unsqueeze", first, builder.constant([1])), mirrored, carry)


def _windows(builder: GraphBuilder, spec: FeatureSpec, signal: str) -> str:
    """Cut f32[B, (frames - 1) * HOP + WINDOW] into overlapping windows f32[B, frames, WINDOW]."""
    blocks = builder.op("Reshape", signal, builder.constant([0, -1, _BLOCK]))
    of_frame = np.arange(spec.frames)[:, None] * (HOP // _BLOCK) + np.arange(WINDOW // _BLOCK)
    gathered = builder.op("Gather", blocks, builder.constant(of_frame), axis=1)
    return builder.op("Reshape", gathered, builder.constant([0, 0, WINDOW]))


def _log_mel(builder: GraphBuilder, spec: FeatureSpec, windows: str) -> str:
    matrix = builder.constant(basis(spec.bank).astype(np.float32))
    spectrum = builder.op("MatMul", windows, matrix)
    squared = builder.op("Mul", spectrum, spectrum)
    # The same filters for both halves add the square of the real to that of the imaginary part.
    filters = mel_filters(spec.bank, spec.mels).astype(np.float32)
    power = builder.op("MatMul", squared, builder.constant(np.concatenate([filters, filters])))
    return builder.op("Log", builder.op("Max", power, builder.constant(np.float32(FLOOR))))


def _columns(builder: GraphBuilder, matrix: str, begin: int, end: int) -> str:
    bounds = (builder.constant([bound]) for bound in (begin, end, 1))
    return builder.op("Slice", matrix, *bounds)
