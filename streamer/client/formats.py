"""What the bytes of raw encodings mean."""

from __future__ import annotations

from streamer.errors import InvalidRequest
from streamer.session.messages import Config

BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1}


def frame_bytes(config: Config) -> int:
    """Return how many bytes hold one sample of all channels; raises `InvalidRequest` unless the encoding is raw."""
    size = BYTES_PER_SAMPLE.get(config.encoding)
    if size is None:
        raise InvalidRequest(f"encoding: expected one of {', '.join(BYTES_PER_SAMPLE)}, got {config.encoding!r}")
    return size * max(1, config.channels)
