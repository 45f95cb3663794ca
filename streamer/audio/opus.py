"""Ogg Opus (RFC 7845) decoded while it arrives, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from streamer.audio.extra import require_av
from streamer.audio.frames import mono_of, set_up
from streamer.audio.ogg import Page, PageReader
from streamer.errors import InvalidRequest
from streamer.work import Array

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

# What Opus decodes to, whatever rate was encoded.
RATE = 48000

_HEAD_BYTES = 19
# Do not let ffmpeg skip samples: they are counted here.
_SKIP_MANUAL = 1 << 29


class OpusDecoder:
    """A `StreamDecoder` of one logical stream of one or two channels, at 48 kHz.

    Samples before the pre-skip and after the granule position of the last page are dropped (RFC 7845, 4.2 and 4.4).
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._pages = PageReader()
        self._decoder: AudioCodecContext | None = None
        self._has_tags = False
        self._ended = False
        self._n_packets = 0
        # Samples decoded, pre-skip included; granule position of the first of them, known after the first page.
        self._decoded = 0
        self._origin: int | None = None
        self._skip = 0

    @property
    def missing(self) -> str | None:
        """What the stream lacks; to be asked after its end. A live stream without a last page is whole."""
        if self._pages.pending_bytes:
            return f"the rest of a page or packet of which {self._pages.pending_bytes} bytes came"
        return None if self._has_tags else "its headers"

    def feed(self, data: bytes) -> Iterator[Array]:
        """Take bytes and yield the mono samples, float32 `[n]`, of the packets of each page that they complete."""
        for page in self._pages.feed(data):
            yield from self._page(page)

    def settle(self) -> Iterator[Array]:
        """Nothing: a page is decoded when it is complete, and not before."""
        return iter(())

    def _page(self, page: Page) -> Iterator[Array]:
        if self._ended:
            raise InvalidRequest("expected nothing after the last ogg page, got another page")
        self._ended = page.is_last
        packets = iter(page.packets)
        if self._decoder is None:
            self._decoder = self._open(page, next(packets, b""))
        if not self._has_tags:
            self._has_tags = _are_tags(next(packets, None))
        before = self._decoded
        last = self._last_sample(page)
        for packet in packets:
            yield from self._kept(self._decode(self._decoder, packet), last)
        if self._origin is None and self._decoded > before:
            self._origin = self._first_granule(page, self._decoded - before)

    def _open(self, page: Page, head: bytes) -> AudioCodecContext:
        if not page.is_first or len(head) < _HEAD_BYTES or head[:8] != b"OpusHead":
            raise InvalidRequest("expected an ogg_opus stream, got one that does not begin with OpusHead")
        version, channels, family = head[8], head[9], head[18]
        if version > 15:
            raise InvalidRequest(f"expected an OpusHead of version 1, got {version}")
        if family != 0 or channels != self._channels:
            got = f"{channels} (mapping family {family})"
            raise InvalidRequest(f"expected {self._channels} channels as declared, got {got} in OpusHead")
        av = require_av("encoding ogg_opus")
        decoder: AudioCodecContext = av.CodecContext.create("libopus", "r")
        decoder.extradata = head
        decoder.sample_rate = RATE
        decoder.flags2 |= _SKIP_MANUAL
        set_up(decoder, request_sample_fmt="flt")
        self._skip = int.from_bytes(head[10:12], "little")
        return decoder

    def _decode(self, decoder: AudioCodecContext, packet: bytes) -> Array:
        av: Any = require_av("encoding ogg_opus")
        self._n_packets += 1
        try:
            # An empty packet would mean the end to ffmpeg.
            frames = decoder.decode(av.Packet(packet)) if packet else []
        except av.error.FFmpegError:
            frames = []
        if len(frames) != 1:
            raise InvalidRequest(f"opus packet {self._n_packets} is damaged")
        return mono_of(frames[0])

    def _last_sample(self, page: Page) -> int | None:
        """Where the stream ends, in decoded samples; None before its last page."""
        return page.granule - (self._origin or 0) if page.is_last and page.granule >= 0 else None

    def _kept(self, samples: Array, last: int | None) -> Iterator[Array]:
        start = self._decoded
        self._decoded += len(samples)
        end = len(samples) if last is None else min(len(samples), max(0, last - start))
        samples = samples[max(0, self._skip - start) : end]
        if len(samples):
            yield samples

    def _first_granule(self, page: Page, n_samples: int) -> int:
        """Return the granule position of the first sample: not 0 in a stream that was joined (RFC 7845, 4.3)."""
        if page.is_last:
            return 0
        if page.granule < n_samples:
            raise InvalidRequest(f"expected a granule position of at least {n_samples}, got {page.granule}")
        return page.granule - n_samples


def _are_tags(packet: bytes | None) -> bool:
    if packet is None:
        return False
    if packet[:8] != b"OpusTags":
        raise InvalidRequest("expected OpusTags after OpusHead, got another packet")
    return True
