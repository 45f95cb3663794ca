"""Packets of an SNC1 stream, taken from bytes in any cuts; what is damaged becomes a loss."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.audio.snc1 import HEADER_BYTES, PACKET_OVERHEAD, Header, Lost, Packet, decode_header, header_size
from streamer.audio.snc1_scan import End, Item, Verdict, candidate_at, item_at
from streamer.errors import InvalidRequest

# Damage that outweighs whole packets by this many bytes means that the rest is no such stream.
MAX_DAMAGE_BYTES = 1 << 16
# After damage, a packet is trusted at once if no more packets than this seem to be lost before it, and no more than
# the damaged bytes can have held. All others have to be followed by something whole: a checksum of 16 bits alone would
# find a packet in every other 64 KiB of noise.
_MAX_TRUSTED_GAP = 16
# What the numbers of packets can tell apart.
_MAX_GAP = 255


class PacketReader:
    """Splits bytes into packets. Gaps in their numbers, and damage, are yielded as `Lost`.

    `header` is None until it is there, and `total_samples` until the header or the end says it. `n_packets` counts
    packets including those lost, `damaged_bytes` those that belong to nothing, and `place` is the byte where the packet
    that was yielded last begins. Holds no more than two packets between calls.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        self.total_samples: int | None = None
        self.n_packets = 0
        self.damaged_bytes = 0
        self.place = 0
        self._buffer = bytearray()
        # Where `_buffer` begins in the stream.
        self._start = 0
        # Bytes of damage since the last packet; None where the next item has to begin with the buffer.
        self._skipped: int | None = None
        # Damage that whole packets have not made up for.
        self._damage = 0
        self._has_end = False
        self._has_index = False
        self._truncated_bytes = 0

    @classmethod
    def from_packet(cls, header: Header, n_packets: int, place: int) -> PacketReader:
        """Return a reader of what follows after `n_packets` of a stream, from its byte `place` on."""
        reader = cls()
        reader._begin(header)
        reader.n_packets = n_packets
        reader.place = reader._start = place
        return reader

    @property
    def missing(self) -> str | None:
        """What the stream lacks; to be asked after `finish`. A live stream may stop after any packet."""
        if self.header is None:
            return "its header"
        if self._truncated_bytes:
            return f"the rest of a packet of which {self._truncated_bytes} bytes came"
        expected = self._n_expected or 0
        return f"{expected - self.n_packets} of {expected} packets" if self.n_packets < expected else None

    @property
    def _n_expected(self) -> int | None:
        """How many packets the stream has; None until that is known."""
        if self.header is None or self.total_samples is None:
            return None
        return self.header.n_packets(self.total_samples)

    def feed(self, data: bytes) -> Iterator[Packet | Lost]:
        """Take bytes and yield the packets that they complete.

        Raises `InvalidRequest` for what is no SNC1 stream of this version, for packets that contradict the header or
        the end, and for endless damage.
        """
        self._buffer += data
        if self.header is not None or self._read_header():
            yield from self._items(at_end=False)

    def finish(self) -> Iterator[Packet | Lost]:
        """There are no more bytes: yield the packets that waited for more, and what was lost at the end."""
        if self.header is None:
            return
        yield from self._items(at_end=True)
        left = len(self._buffer)
        if self._skipped is None:
            self._truncated_bytes = left
        if not self._has_index:
            yield from self._lost_at_end(0 if self._skipped is None else self._skipped + left)
        self._skip(left)

    def _read_header(self) -> bool:
        size = header_size(bytes(self._buffer[:8]))
        if size is None or len(self._buffer) < HEADER_BYTES:
            return False
        # Read before its tail is there: a damaged length would wait for that in vain.
        header = decode_header(bytes(self._buffer[:HEADER_BYTES]))
        if len(self._buffer) < size:
            return False
        self._begin(header)
        self._drop(size)
        return True

    def _begin(self, header: Header) -> None:
        self.header, self.total_samples = header, header.total_samples

    def _items(self, at_end: bool) -> Iterator[Packet | Lost]:
        """What the buffer holds whole."""
        while self._buffer and not self._is_over():
            found = self._synced() if self._skipped is None else self._scanned(at_end)
            if found is Verdict.MORE:
                if not (at_end and self._skipped is None and self._hides_packets()):
                    return
            elif isinstance(found, tuple):
                yield from self._take(*found)

    def _is_over(self) -> bool:
        """Whether only an index can follow, which is not read here."""
        assert self.header is not None
        if not self._has_index and not (self.header.has_index and self._n_expected == self.n_packets):
            return False
        self._drop(len(self._buffer))
        return True

    def _synced(self) -> tuple[Item, int] | Verdict:
        """The item that has to be here; if it is not, the search begins."""
        assert self.header is not None
        try:
            found = item_at(self._buffer, 0, self.header)
        except InvalidRequest as error:
            raise InvalidRequest(f"snc1 packet at byte {self._start}: {error}") from None
        if found is Verdict.NOTHING:
            self._skipped = 0
            self._skip(1)
        return found

    def _scanned(self, at_end: bool) -> tuple[Item, int] | Verdict:
        """The first item after damage that can be trusted; all before it is dropped."""
        assert self.header is not None
        for start in range(len(self._buffer)):
            found = candidate_at(self._buffer, start, self.header)
            if isinstance(found, tuple):
                found = self._trusted(found, start, at_end)
            if isinstance(found, tuple):
                self._skip(start)
                return found[0], found[1] - start
            if found is Verdict.MORE and not at_end:
                self._skip(start)
                return found
        self._skip(len(self._buffer))
        return Verdict.MORE

    def _trusted(self, found: tuple[Item, int], start: int, at_end: bool) -> tuple[Item, int] | Verdict:
        """`found` if it is no accident."""
        assert self.header is not None
        item, end = found
        if not isinstance(item, Packet):
            return found
        most = ((self._skipped or 0) + start) // PACKET_OVERHEAD
        if self._gap(item) <= min(most, _MAX_TRUSTED_GAP):
            return found
        following = candidate_at(self._buffer, end, self.header)
        if isinstance(following, tuple) or (at_end and end == len(self._buffer)):
            return found
        return Verdict.NOTHING if at_end else following

    def _hides_packets(self) -> bool:
        """At the end, whether what seems to be a packet that is cut off has whole packets in it."""
        assert self.header is not None
        self._skipped = 0
        for start in range(1, len(self._buffer)):
            found = candidate_at(self._buffer, start, self.header)
            if isinstance(found, tuple) and isinstance(self._trusted(found, start, at_end=True), tuple):
                self._skip(1)
                return True
        self._skipped = None
        return False

    def _take(self, item: Item, size: int) -> Iterator[Packet | Lost]:
        """Yield what is known by `item`, which begins the buffer."""
        place = self._start
        self._drop(size)
        if isinstance(item, Packet):
            self._damage = max(0, self._damage - size)
            yield from self._lost(self._gap(item))
            self._count(1)
            self.place = place
            self._skipped = None
            yield item
            return
        damaged, self._skipped = self._skipped or 0, None
        if isinstance(item, End):
            self._has_end = True
            self._set_total(item.total_samples)
        else:
            self._has_index = True
            yield from self._lost_at_end(damaged)

    def _gap(self, packet: Packet) -> int:
        """How many packets are missing before `packet`."""
        return (packet.seq - self.n_packets) % 256

    def _lost(self, n_packets: int) -> Iterator[Lost]:
        if n_packets:
            self._count(n_packets)
            yield Lost(n_packets)

    def _lost_at_end(self, damaged: int) -> Iterator[Lost]:
        """What is missing where the bytes end, or the index begins, after so many bytes of damage."""
        if self._n_expected is None:
            assert self.header is not None
            least = -(-damaged // (PACKET_OVERHEAD + 1 + self.header.max_payload_bytes))
            yield from self._lost(min(least, _MAX_GAP))
            return
        # Who told the end meant to send what is missing. Otherwise it was cut off, unless it can be the damaged bytes.
        most = _MAX_GAP if self._has_index else _MAX_TRUSTED_GAP if self._has_end else damaged // PACKET_OVERHEAD
        if (gap := self._n_expected - self.n_packets) <= most:
            yield from self._lost(gap)

    def _set_total(self, total_samples: int) -> None:
        if self.total_samples not in (None, total_samples):
            raise InvalidRequest(
                f"expected an snc1 stream of {self.total_samples} samples as its header says, got {total_samples}"
            )
        self.total_samples = total_samples
        self._count(0)

    def _count(self, n_packets: int) -> None:
        """Count packets; raises `InvalidRequest` for more than the samples of the stream need."""
        assert self.header is not None
        self.n_packets += n_packets
        if self.total_samples is None:
            return
        most = -(-(self.header.preskip + self.total_samples) // self.header.packet_samples)
        if self.n_packets > most:
            raise InvalidRequest(f"expected at most {most} snc1 packets for {self.total_samples} samples, got more")

    def _skip(self, size: int) -> None:
        """Drop damage."""
        self._drop(size)
        self.damaged_bytes += size
        self._damage += size
        if self._skipped is not None:
            self._skipped += size
        if self._damage > MAX_DAMAGE_BYTES:
            raise InvalidRequest(f"snc1 stream is damaged: {self.damaged_bytes} of {self._start} bytes are no packets")

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._start += size
