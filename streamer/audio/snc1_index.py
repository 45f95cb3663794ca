"""Random access to an SNC1 file: by its index or, where that is missing or damaged, by looking at all packets."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from streamer.audio.snc1 import MAX_HEADER_BYTES, Header, Lost, Packet, decode_header, header_size
from streamer.audio.snc1_chunks import (
    CHECKSUM_BYTES,
    INDEX_ENTRY_BYTES,
    INDEX_HEAD_BYTES,
    MAX_ENTRIES,
    TRAILER_BYTES,
    Entry,
    decode_index,
    decode_trailer,
)
from streamer.audio.snc1_reader import PacketReader
from streamer.errors import InvalidRequest

_BLOCK_BYTES = 1 << 16
_MAX_INDEX_BYTES = INDEX_HEAD_BYTES + MAX_ENTRIES * INDEX_ENTRY_BYTES + CHECKSUM_BYTES


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin to hear a sample: decode from `entry` on, and drop the first `discard_samples` that come out."""

    entry: Entry
    discard_samples: int


class IndexedReader:
    """The packets of a seekable `file` from any place on. `total_samples` is None for a live stream that was cut off.

    Raises `InvalidRequest` as `PacketReader` does.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        head = file.read(MAX_HEADER_BYTES)
        size = header_size(head)
        if size is None or len(head) < size:
            raise InvalidRequest("snc1 file is truncated: expected its header")
        self.header: Header = decode_header(head[:size])
        self._first = Entry(0, size)
        self.total_samples = self.header.total_samples
        entries = self._read_index()
        self.was_indexed = entries is not None
        self.entries = self._scanned() if entries is None or self.total_samples is None else entries

    def start(self, sample: int, preroll_frames: int) -> Start:
        """Return where to begin to hear `sample`, which counts from the first one after the preskip.

        The decoder is given `preroll_frames` before it at least, its receptive field, as far as there are so many.
        """
        if sample < 0 or (self.total_samples is not None and sample >= self.total_samples):
            raise InvalidRequest(f"expected a sample below {self.total_samples} to seek, got {sample}")
        place = sample + self.header.preskip
        latest = place // self.header.frame_samples - preroll_frames
        n_before = bisect_right(self.entries, latest, key=_frame)
        entry = self.entries[n_before - 1] if n_before else self._first
        return Start(entry, place - entry.frame * self.header.frame_samples)

    def packets(self, start: Start | None = None) -> Iterator[Packet | Lost]:
        """Yield the packets from `start`, or the begin of the file, to its end."""
        entry = start.entry if start else self._first
        return self._read(
            PacketReader.from_packet(self.header, entry.frame // self.header.frames_per_packet, entry.offset)
        )

    def _read(self, reader: PacketReader) -> Iterator[Packet | Lost]:
        self._file.seek(reader.place)
        while block := self._file.read(_BLOCK_BYTES):
            place = self._file.tell()
            yield from reader.feed(block)
            # Whoever iterates may use the file in between.
            self._file.seek(place)
        yield from reader.finish()

    def _read_index(self) -> list[Entry] | None:
        """The index that the end of the file tells of; None where there is none that can be trusted."""
        end = self._file.seek(0, io.SEEK_END) - TRAILER_BYTES
        if not self.header.has_index or end < self._first.offset:
            return None
        self._file.seek(end)
        offset = decode_trailer(self._file.read(TRAILER_BYTES))
        if offset is None or not self._first.offset <= offset < end or end - offset > _MAX_INDEX_BYTES:
            return None
        self._file.seek(offset)
        entries = decode_index(self._file.read(end - offset))
        return entries if entries is not None and self._is_plausible(entries, offset) else None

    def _is_plausible(self, entries: list[Entry], end: int) -> bool:
        ascends = all(a.frame < b.frame and a.offset < b.offset for a, b in pairwise(entries))
        are_packets = all(entry.frame % self.header.frames_per_packet == 0 for entry in entries)
        return ascends and are_packets and all(self._first.offset <= entry.offset < end for entry in entries)

    def _scanned(self) -> list[Entry]:
        """All keyframes, and how many samples there are, as the packets tell."""
        reader = PacketReader.from_packet(self.header, 0, self._first.offset)
        entries = []
        for item in self._read(reader):
            if isinstance(item, Packet) and item.is_keyframe:
                entries.append(Entry((reader.n_packets - 1) * self.header.frames_per_packet, reader.place))
        self.total_samples = reader.total_samples
        return entries


def _frame(entry: Entry) -> int:
    return entry.frame
