"""The encodings that a stream may declare, the checks of what it declares, and decoders of those that compress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from streamer.audio.extra import require_av
from streamer.audio.flac import FlacDecoder
from streamer.audio.formats import SNC1 as SNC1
from streamer.audio.formats import TEXT as TEXT
from streamer.audio.opus import RATE as OPUS_RATE
from streamer.audio.opus import OpusDecoder
from streamer.audio.pcm import PCM, check_rate
from streamer.errors import InvalidRequest
from streamer.work import Array

FLAC, OGG_OPUS = "flac", "ogg_opus"
COMPRESSED = (FLAC, OGG_OPUS)
ENCODINGS = (*PCM, *COMPRESSED, SNC1, TEXT)
# Two channels of a compressed stream are averaged. PCM of two channels has to be mixed by the client.
_MAX_CHANNELS = 2


class StreamDecoder(Protocol):
    """Decodes one compressed stream while it arrives. Samples do not depend on how its bytes were cut."""

    @property
    def missing(self) -> str | None:
        """What the stream lacks, such as "its headers"; None if it is whole. To be asked after its end."""

    def feed(self, data: bytes) -> Iterator[Array]:
        """Take bytes and yield blocks of mono samples, float32 `[n]`, decoding no further than the caller iterates.

        Raises `InvalidRequest` for what is damaged, or contradicts the declared format; the stream is lost then.
        """

    def settle(self) -> Iterator[Array]:
        """Yield the samples that are complete and were still waiting for a sign of it."""


def check_format(encoding: str, sample_rate: int, channels: int) -> None:
    """Raise `InvalidRequest` unless a stream of this format can be decoded. None of the three has a default."""
    if encoding not in ENCODINGS:
        raise InvalidRequest(f"expected encoding {', '.join(ENCODINGS[:-1])} or {ENCODINGS[-1]}, got {encoding!r}")
    check_rate(sample_rate)
    if encoding in COMPRESSED:
        require_av(f"encoding {encoding}")
    most = _MAX_CHANNELS if encoding in COMPRESSED else 1
    if isinstance(channels, bool) or not 1 <= channels <= most:
        expected = "1 channel" if most == 1 else "1 or 2 channels"
        raise InvalidRequest(f"expected {expected}, got {channels!r}")
    if encoding == OGG_OPUS and sample_rate != OPUS_RATE:
        raise InvalidRequest(f"expected a sample rate of {OPUS_RATE} Hz, to which opus decodes, got {sample_rate!r}")


def open_decoder(encoding: str, sample_rate: int, channels: int) -> StreamDecoder:
    """Return a fresh decoder of a compressed encoding, of a format that `check_format` has let pass."""
    if encoding == FLAC:
        return FlacDecoder(sample_rate, channels)
    return OpusDecoder(channels)
