"""What the bytes of encodings mean."""

from __future__ import annotations

from streamer.errors import InvalidRequest
from streamer.session.messages import Config

BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1}
SNC1 = "snc1"
TEXT = "text"
# Of compressed streams: seconds of speech at any bit rate, for a message may decode to ten seconds at most.
_BLOCK_BYTES = 1 << 12
# Of packets, some seconds too.
_SNC1_BLOCK_BYTES = 1 << 10


def block_bytes(encoding: str) -> int:
    """Return how much of a compressed stream may be sent in one message."""
    return _SNC1_BLOCK_BYTES if encoding == SNC1 else _BLOCK_BYTES


def frame_bytes(config: Config) -> int:
    """Return how many bytes hold one sample of all channels; raises `InvalidRequest` unless the encoding is raw."""
    size = BYTES_PER_SAMPLE.get(config.encoding)
    if size is None:
        raise InvalidRequest(f"encoding: expected one of {', '.join(BYTES_PER_SAMPLE)}, got {config.encoding!r}")
    return size * max(1, config.channels)
