"""The noise that a voice is made of: normal numbers that depend on the seed and on the place of their frame alone.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) numbers its outputs, so those of any frame
can be made without those before it, however frames are cut into steps. Box and Muller's transform takes as many of them
for each number, which rejection methods do not.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from streamer.work import Array

# 64-bit outputs of one count.
_OUTPUTS = 4
_UNIT = np.float32(2.0**-24)
_TURN = np.float32(2.0 * np.pi * 2.0**-24)


class Noise(IntEnum):
    """What the numbers are for; those of one kind say nothing of the other."""

    FLOW = 0
    WAVE = 1


def uniforms(seed: int, kind: Noise, first_frame: int, frames: int, width: int) -> Array:
    """Return numbers from 0 to 1, without 1, of `frames` frames from `first_frame` on, float32 `[frames, width]`."""
    blocks = -(-width // _OUTPUTS)
    source = np.random.Philox(key=seed | int(kind) << 64, counter=first_frame * blocks)
    raw = source.random_raw(frames * blocks * _OUTPUTS).reshape(frames, blocks * _OUTPUTS)[:, :width]
    return (raw >> np.uint64(40)).astype(np.float32) * _UNIT


def normals(seed: int, kind: Noise, first_frame: int, frames: int, width: int) -> Array:
    """Return standard normal numbers of `frames` frames from `first_frame` on, float32 `[frames, width]`.

    `seed` is from 0 to 2**64 - 1. A number is at most 5.8 away from 0.
    """
    pairs = -(-width // 2)
    blocks = -(-pairs // _OUTPUTS)
    source = np.random.Philox(key=seed | int(kind) << 64, counter=first_frame * blocks)
    raw = source.random_raw(frames * blocks * _OUTPUTS).reshape(frames, blocks * _OUTPUTS)[:, :pairs]
    # From 1 to 2**24, so that there is a logarithm.
    length = ((raw >> np.uint64(40)) + np.uint64(1)).astype(np.float32) * _UNIT
    angle = ((raw >> np.uint64(8)) & np.uint64(0xFFFFFF)).astype(np.float32) * _TURN
    radius = np.sqrt(np.float32(-2.0) * np.log(length))
    return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)), axis=1)[:, :width]
