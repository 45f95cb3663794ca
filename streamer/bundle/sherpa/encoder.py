"""The encoder of icefall's models: PCM to features, features and states to frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streamer.bundle.manifest import NUMPY_TYPES
from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.features import FeatureSpec, add_features
from streamer.bundle.sherpa.signatures import (
    BATCH,
    check_counts,
    check_input,
    dims_of,
    run_once,
    takes_batches,
    zeros,
)
from streamer.bundle.sherpa.source import Model
from streamer.bundle.sherpa.states import STATES, StateRow
from streamer.errors import BundleError

CARRY = "carry"
# 10.24 s: longer chunks are no streaming.
_MOST_FRAMES = 1024
_MELS = 80
# Anything larger is a wrong number in the metadata.
_MOST_STATE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Encoder:
    """A checked encoder: its features, its states, and how many `frames` of `width` values a chunk becomes."""

    model: Model
    features: FeatureSpec
    rows: tuple[StateRow, ...]
    frames: int
    width: int
    takes_batches: bool


def read_encoder(model: Model) -> Encoder:
    """Read the metadata of an encoder, check its inputs against it and try it once; raises `BundleError`."""
    metadata = model.metadata
    kind = metadata.text("model_type").removesuffix("_ctc")
    if "feature" in metadata.values:
        raise BundleError(f"{model.file}: metadata feature: expected none, got {metadata.text('feature')!r:.60}")
    dims = dims_of(model.inputs[0]) if model.inputs else ()
    mels = (dims[-1] if dims else None) or _MELS
    features, rows = FeatureSpec("k2", *_lengths(model), mels), STATES[kind](metadata, mels)
    check_counts(model, 1 + len(rows), 1 + sum(row.step is None for row in rows))
    _check_size(model, rows)
    check_input(model, 0, [BATCH, features.frames, mels])
    for index, row in enumerate(rows, start=1):
        check_input(model, index, _batched(row), (row.data_type,))
    frames, width = _try(model, features, rows)
    batches = takes_batches(model, [0, *(row.axis for row in rows)])
    return Encoder(model, features, tuple(rows), frames, width, batches)


def _try(model: Model, features: FeatureSpec, rows: Sequence[StateRow]) -> tuple[int, int]:
    """Run the encoder on silence and return how many frames of how many values come out."""
    states = [zeros(_batched(row)).astype(NUMPY_TYPES[row.data_type]) for row in rows]
    encoded, *kept = run_once(model, [zeros([1, features.frames, features.mels]), *states])
    before = [(row, state) for row, state in zip(rows, states, strict=True) if row.step is None]
    for (row, state), after in zip(before, kept, strict=False):
        if after.shape != state.shape or after.dtype != state.dtype:
            expected, got = (f"{each.dtype} {list(each.shape)}" for each in (state, after))
            raise BundleError(f"{model.file}: state {row.name}: expected {expected} back, got {got}")
    frames = encoded.shape[1] if encoded.ndim == 3 else 0
    if not frames or features.hop_frames % frames:
        expected = f"[1, frames, width] of frames that divide {features.hop_frames}"
        raise BundleError(f"{model.file}: expected output {expected}, got {list(encoded.shape)}")
    return int(frames), int(encoded.shape[2])


def add_encoder(builder: GraphBuilder, encoder: Encoder) -> str:
    """Add front end, encoder and their states; returns the frames f32[B, frames, width].

    The input is `pcm` f32[B, chunk_samples]; all states are of the group `encoder`.
    """
    spec = encoder.features
    pcm = builder.input("pcm", "TYPE_FP32", [spec.chunk_samples])
    carry = builder.state(CARRY, [spec.carry_samples])
    features, after = add_features(builder, spec, pcm, carry, builder.start())
    builder.write(CARRY, after)
    states = [builder.state(row.name, row.dims, row.data_type, row.axis) for row in encoder.rows]
    encoded, *kept = builder.inline(encoder.model.proto, "encoder", [features, *states])
    returned = iter(kept)
    for row, state in zip(encoder.rows, states, strict=True):
        grown = builder.op("Add", state, builder.constant(row.step)) if row.step is not None else next(returned)
        builder.write(row.name, grown)
    # So that a number of frames that depends on what is said is an error, not a loss.
    return builder.op("Reshape", encoded, builder.constant([0, encoder.frames, encoder.width]))


def _lengths(model: Model) -> tuple[int, int]:
    """The frames of a chunk and by how many chunks follow each other."""
    frames, hop = model.metadata.integer("T", 1), model.metadata.integer("decode_chunk_len", 1)
    if not hop <= frames <= _MOST_FRAMES:
        expected = f"decode_chunk_len <= T <= {_MOST_FRAMES}"
        raise BundleError(f"{model.file}: expected {expected}, got decode_chunk_len {hop} and T {frames}")
    return frames, hop


def _check_size(model: Model, rows: Sequence[StateRow]) -> None:
    size = sum(math.prod(row.dims) * NUMPY_TYPES[row.data_type].itemsize for row in rows)
    if size > _MOST_STATE_BYTES:
        raise BundleError(f"{model.file}: expected states of at most 1 GiB a stream, got {size / 2**30:.1f} GiB")


def _batched(row: StateRow) -> list[int]:
    return [*row.dims[: row.axis], BATCH, *row.dims[row.axis :]]
