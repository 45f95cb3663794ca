"""PCM bytes, linear and G.711, to float32 samples and back."""

from __future__ import annotations

import numpy as np

from streamer.audio.formats import MAX_RATE as MAX_RATE
from streamer.audio.formats import MIN_RATE as MIN_RATE
from streamer.audio.formats import PCM as PCM
from streamer.audio.g711 import CODES, VALUES
from streamer.errors import InvalidRequest
from streamer.work import Array

_BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1}
_FULL_SCALE = 32768.0
_G711 = {encoding: (values / _FULL_SCALE).astype(np.float32) for encoding, values in VALUES.items()}


def check_rate(sample_rate: int) -> None:
    """Raise `InvalidRequest` unless `sample_rate` (Hz) is one that the resampler takes."""
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or not MIN_RATE <= sample_rate <= MAX_RATE:
        raise InvalidRequest(f"expected an integer sample rate from {MIN_RATE} to {MAX_RATE} Hz, got {sample_rate!r}")


def bytes_per_sample(encoding: str) -> int:
    """Return how many bytes hold one sample; raises `InvalidRequest` for an encoding that is not PCM."""
    if encoding not in _BYTES_PER_SAMPLE:
        raise InvalidRequest(f"expected one of {', '.join(PCM)}, got {encoding!r}")
    return _BYTES_PER_SAMPLE[encoding]


def count_samples(n_bytes: int, encoding: str) -> int:
    """Return how many samples `n_bytes` hold; raises `InvalidRequest` when a sample is cut in two."""
    size = bytes_per_sample(encoding)
    if n_bytes % size:
        raise InvalidRequest(f"audio frame of {n_bytes} bytes is not a multiple of {size} bytes per sample")
    return n_bytes // size


def decode(data: bytes, encoding: str, first_sample: int = 0) -> Array:
    """Decode mono PCM to float32 `[n]` in [-1, 1].

    `first_sample` is the place of the first sample in its stream, for error messages only. Raises `InvalidRequest` for
    a cut sample, NaN, infinity, or a float outside [-1, 1].
    """
    count_samples(len(data), encoding)
    if encoding == "pcm_s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)
    if encoding in _G711:
        return _G711[encoding][np.frombuffer(data, np.uint8)]
    samples = np.frombuffer(data, "<f4").astype(np.float32, copy=False)
    check_range(samples, first_sample)
    return samples


def encode(samples: Array, encoding: str) -> bytes:
    """Encode float samples `[n]` to PCM bytes; values outside [-1, 1] are clipped."""
    bytes_per_sample(encoding)
    clipped = np.clip(samples, -1.0, 1.0)
    if encoding == "pcm_f32le":
        return bytes(clipped.astype("<f4").tobytes())
    integers = np.clip(np.rint(clipped * _FULL_SCALE), -32768, 32767).astype("<i2")
    if encoding in CODES:
        return bytes(CODES[encoding][integers.astype(np.int64) + 32768].tobytes())
    return bytes(integers.tobytes())


def check_range(samples: Array, first_sample: int = 0) -> None:
    """Raise `InvalidRequest` naming the first sample that is not a finite float in [-1, 1]."""
    # One comparison finds NaN too, because NaN compares false.
    good = np.abs(samples) <= 1.0
    if not good.all():
        index = int(np.argmin(good))
        raise InvalidRequest(f"sample {first_sample + index} is {samples[index]:g}, expected a float from -1 to 1")
