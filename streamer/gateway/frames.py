"""Cuts what clients of other protocols send at once into frames that a session takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from streamer.audio.pcm import bytes_per_sample, count_samples
from streamer.session.messages import Audio

if TYPE_CHECKING:
    from streamer.config import SessionSection


# Seconds of speech at any bit rate: a frame may decode to no more than `max_ahead_ms`.
_COMPRESSED_BYTES = 4096


def pcm_frames(data: bytes, encoding: str, sample_rate: int, limits: SessionSection) -> Iterator[Audio]:
    """Yield mono PCM `data` in frames within `limits`; raises `InvalidRequest` when a sample is cut in two."""
    size = bytes_per_sample(encoding)
    count_samples(len(data), encoding)
    samples = min(limits.max_frame_bytes // size, limits.max_frame_ms * sample_rate // 1000)
    yield from _pieces(data, max(1, samples) * size)


def byte_frames(data: bytes, limits: SessionSection) -> Iterator[Audio]:
    """Yield compressed `data`, whose samples nobody has counted yet, in frames within `limits`."""
    yield from _pieces(data, min(limits.max_frame_bytes, _COMPRESSED_BYTES))


def _pieces(data: bytes, size: int) -> Iterator[Audio]:
    for start in range(0, len(data), size):
        yield Audio(data[start : start + size])
