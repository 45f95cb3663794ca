"""What an SNC1 stream says of itself, without decoding it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamer.audio.snc1 import Header, Lost, Packet, encode_packet
from streamer.audio.snc1_reader import PacketReader
from streamer.errors import InvalidRequest

_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Description:
    """A stream in numbers. `n_packets` counts those lost, too; `books` tells how many packets send how many books.

    `total_samples` is None where nothing says it; `missing` tells what a stream lacks that was cut off.
    """

    header: Header
    total_samples: int | None
    n_bytes: int
    packet_bytes: int
    payload_bytes: int
    damaged_bytes: int
    n_packets: int
    n_lost: int
    n_silent: int
    n_keyframes: int
    n_redundant: int
    books: Mapping[int, int]
    missing: str | None

    @property
    def duration_s(self) -> float:
        """Seconds of audio that come out, losses included."""
        header = self.header
        heard = max(0, self.n_packets * header.packet_samples - header.preskip)
        total = heard if self.total_samples is None else self.total_samples
        return min(heard, total) / header.sample_rate

    @property
    def bits_per_second(self) -> float:
        """Bits of packets for each second of them, with all that frames them."""
        return self._rate(self.packet_bytes)

    @property
    def payload_bits_per_second(self) -> float:
        """Bits of payload for each second of packets."""
        return self._rate(self.payload_bytes)

    def _rate(self, n_bytes: int) -> float:
        n_samples = (self.n_packets - self.n_lost) * self.header.packet_samples
        return 8 * n_bytes * self.header.sample_rate / n_samples if n_samples else 0.0


def describe(source: Path | str | bytes) -> Description:
    """Return what the stream in a file, or in bytes, says of itself; raises `InvalidRequest` as `PacketReader` does."""
    reader, books, seen = PacketReader(), Counter[int](), Counter[str]()
    for block in _blocks(source):
        seen["bytes"] += len(block)
        _count(reader.feed(block), books, seen)
    _count(reader.finish(), books, seen)
    if reader.header is None:
        raise InvalidRequest("snc1 stream is truncated: expected its header")
    return Description(
        header=reader.header,
        total_samples=reader.total_samples,
        n_bytes=seen["bytes"],
        packet_bytes=seen["packet bytes"],
        payload_bytes=seen["payload bytes"],
        damaged_bytes=reader.damaged_bytes,
        n_packets=reader.n_packets,
        n_lost=seen["lost"],
        n_silent=seen["silent"],
        n_keyframes=seen["keyframes"],
        n_redundant=seen["redundant"],
        books=dict(sorted(books.items())),
        missing=reader.missing,
    )


def _blocks(source: Path | str | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with Path(source).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _count(items: Iterator[Packet | Lost], books: Counter[int], seen: Counter[str]) -> None:
    for item in items:
        if isinstance(item, Lost):
            seen["lost"] += item.n_packets
            continue
        seen["packet bytes"] += len(encode_packet(item))
        seen["payload bytes"] += len(item.payload)
        seen["silent"] += item.is_silence
        seen["keyframes"] += item.is_keyframe
        seen["redundant"] += item.has_fec
        if not item.is_silence:
            books[item.n_books] += 1
