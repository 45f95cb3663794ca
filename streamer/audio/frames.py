"""What PyAV decodes, as arrays, and how its decoders are set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.work import Array

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame

# Most samples of one packet of any decoder here; flac allows the most.
_MAX_PACKET_SAMPLES = 65535
_FULL_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "flt": 1.0, "dbl": 1.0}


def set_up(decoder: AudioCodecContext, **options: str) -> None:
    """Bound what one packet may decode to, and keep ffmpeg from threads of its own, which would delay samples."""
    decoder.thread_count = 1
    decoder.options = {"max_samples": str(_MAX_PACKET_SAMPLES), **options}


def samples_of(frame: AudioFrame) -> Array:
    """Return the samples of a decoded frame, float32 `[n, channels]`."""
    values = frame.to_ndarray()
    layout = values.T if frame.format.is_planar else values.reshape(frame.samples, -1)
    full_scale = _FULL_SCALE[frame.format.packed.name]
    samples = np.ascontiguousarray(layout, np.float32)
    if frame.format.packed.name == "u8":
        samples -= np.float32(full_scale)
    return samples if full_scale == 1.0 else samples / np.float32(full_scale)


def mono_of(frame: AudioFrame) -> Array:
    """Return the average of a frame's channels, float32 `[n]` in [-1, 1]; what overshoots is clipped."""
    mono: Array = np.clip(samples_of(frame).mean(axis=1, dtype=np.float32), -1.0, 1.0)
    return mono
