"""Pages of an Ogg stream (RFC 3533), taken from bytes in any cuts."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from streamer.errors import InvalidRequest

# The longest packet that is put together. One of Opus audio has at most 61,298 bytes; its tags may hold a picture.
MAX_PACKET_BYTES = 1 << 20

_HEADER = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_CRC_PLACE = slice(22, 26)
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the packets that end on it. `granule` is -1 where none does."""

    is_first: bool
    is_last: bool
    granule: int
    serial: int
    packets: tuple[bytes, ...]


class PageReader:
    """Splits bytes into pages. Strict: nothing between pages, no page missing, one logical stream, checksums right."""

    def __init__(self) -> None:
        self._pending = bytearray()
        # Bytes of the pages before `_pending`, for messages; sequence number and stream of the next page.
        self._place = 0
        self._next: tuple[int, int] | None = None
        self._packet = bytearray()
        self._packet_is_open = False

    @property
    def pending_bytes(self) -> int:
        """Bytes of a page or a packet that is not complete."""
        return len(self._pending) + len(self._packet)

    def feed(self, data: bytes) -> Iterator[Page]:
        """Take bytes and yield the pages that they complete; raises `InvalidRequest` for what is no page."""
        self._pending += data
        while (size := self._page_size()) is not None:
            page = bytes(self._pending[:size])
            del self._pending[:size]
            yield self._parse(page)
            self._place += size

    def _page_size(self) -> int | None:
        """How long the page is that begins the pending bytes; None when it is not complete."""
        head = self._pending
        if not b"OggS\0".startswith(head[:5]):
            raise InvalidRequest(f"expected an ogg page at byte {self._place}, got something else")
        if len(head) < _HEADER.size or len(head) < _HEADER.size + head[26]:
            return None
        size = _HEADER.size + head[26] + sum(head[_HEADER.size : _HEADER.size + head[26]])
        return size if len(head) >= size else None

    def _parse(self, page: bytes) -> Page:
        _, _, flags, granule, serial, sequence, crc, n_segments = _HEADER.unpack_from(page)
        blank = page[: _CRC_PLACE.start] + bytes(4) + page[_CRC_PLACE.stop :]
        if ogg_crc(blank) != crc:
            raise InvalidRequest(f"ogg page at byte {self._place} is damaged: its checksum differs")
        if self._next is not None and (sequence, serial) != self._next:
            expected = f"expected page {self._next[0]} of stream {self._next[1]:#x}"
            raise InvalidRequest(f"{expected} at byte {self._place}, got page {sequence} of stream {serial:#x}")
        self._next = ((sequence + 1) % 2**32, serial)
        if bool(flags & _CONTINUED) != self._packet_is_open:
            raise InvalidRequest(f"ogg page at byte {self._place} does not continue the one before it")
        lengths = page[_HEADER.size : _HEADER.size + n_segments]
        packets = tuple(self._packets(lengths, page[_HEADER.size + n_segments :]))
        return Page(bool(flags & _FIRST), bool(flags & _LAST), granule, serial, packets)

    def _packets(self, lengths: bytes, body: bytes) -> Iterator[bytes]:
        """Cut the body into packets; a segment of 255 bytes goes on in the next one, maybe on the next page."""
        start = 0
        for length in lengths:
            self._packet += body[start : start + length]
            start += length
            self._packet_is_open = length == 255
            if not self._packet_is_open:
                yield bytes(self._packet)
                self._packet.clear()
            elif len(self._packet) > MAX_PACKET_BYTES:
                raise InvalidRequest(f"expected ogg packets of at most {MAX_PACKET_BYTES} bytes, got a longer one")


def ogg_crc(data: bytes) -> int:
    """Return Ogg's checksum: the polynomial of zlib's, but most significant bit first and from zero (RFC 3533, 6)."""
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
