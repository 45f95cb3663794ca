"""Tells audio files apart by their first bytes, and reads what a stream has to declare from their headers."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import InvalidRequest

# Enough for the headers that are read here.
HEAD_BYTES = 64
_OPUS_RATE = 48_000


@dataclass(frozen=True, slots=True)
class Compressed:
    """A file that can be sent as a live stream of this encoding."""

    encoding: str
    sample_rate: int
    channels: int


def is_wav(head: bytes) -> bool:
    """Whether a file that begins with `head` is a WAV file."""
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def compressed(head: bytes, where: str = " over gRPC; a ws:// or wss:// URL takes more formats") -> Compressed:
    """Return how to stream a file that begins with `head`; raises `InvalidRequest` unless it is flac or Ogg Opus.

    `where` ends that message: where no other formats are taken.
    """
    if head[:4] == b"fLaC" and len(head) >= 26:
        # RFC 9639, 8.2: 20 bits of rate, 3 of channels less one, in the first block, which follows 8 bytes of headers.
        fields = int.from_bytes(head[18:26])
        return Compressed("flac", fields >> 44, (fields >> 41 & 7) + 1)
    if head[:4] == b"OggS" and head[28:36] == b"OpusHead":
        # RFC 7845, 5.1; the first page has one segment, hence 28 bytes before it.
        return Compressed("ogg_opus", _OPUS_RATE, head[37])
    raise InvalidRequest(f"audio: expected wav, flac or Ogg Opus{where}")


def snc1_rate(head: bytes) -> int:
    """Return the sample rate of an SNC1 stream that begins with `head`; raises `InvalidRequest` for anything else."""
    if head[:4] != b"SNC1" or len(head) < 12:
        raise InvalidRequest("packets: expected an SNC1 stream, got something else")
    # docs/snc1.md: 4 bytes of magic, version, mode and two bytes of length come before it.
    return int.from_bytes(head[8:12], "little")
