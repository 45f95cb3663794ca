"""Audio as JSON-compatible text, for snapshots of streams."""

from __future__ import annotations

import base64

import numpy as np

from streamer.work import Array


def to_text(samples: Array) -> str:
    """Return float32 samples `[n]` as base64 of little-endian floats; exact."""
    return base64.b64encode(samples.astype("<f4").tobytes()).decode("ascii")


def from_text(text: str) -> Array:
    """Return the float32 samples `[n]` that `to_text` wrote, writable."""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
