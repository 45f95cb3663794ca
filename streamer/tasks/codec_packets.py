"""The packets that a codec stream makes, and what it reads of those that come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.audio.snc1 import RAW, REDUNDANT_BOOKS, Header, Packet, redundancy_bytes
from streamer.audio.snc1_writer import StreamWriter
from streamer.tasks.bit_packing import pack
from streamer.tasks.code_tables import ABSENT, last_codes
from streamer.tasks.codec_work import Arrival, Reading, Writing
from streamer.work import Array


class PacketMaker:
    """Writes packets of one stream: keyframes, redundancy, silence, and the end as soon as it is known."""

    def __init__(self, header: Header, books: int) -> None:
        self.header = header
        self._writer = StreamWriter(header)
        self._books = books
        self._absent = np.full(books, ABSENT, np.int64)
        # The codes of the frame before, and those of the packet before as far as they are repeated.
        self._previous = self._absent
        self._repeated: Array | None = None
        self._since_keyframe = 0
        self._is_interrupted = True
        self._has_begun = False
        self._total_samples: int | None = header.total_samples
        self._has_end = header.total_samples is not None

    def plan(self, packets: Sequence[Array | None]) -> list[Writing]:
        """Return how the codes of the next `packets` are written; None stands for a packet without codes."""
        if self.header.entropy_mode == RAW:
            return [Writing(codes, RAW, self._absent, True) for codes in packets if codes is not None]
        planned = []
        previous, since, is_interrupted = self._previous, self._since_keyframe, self._is_interrupted
        for codes in packets:
            if codes is None:
                is_interrupted = True
                continue
            is_keyframe = is_interrupted or since >= self.header.keyframe_every
            planned.append(
                Writing(codes, self.header.entropy_mode, self._absent if is_keyframe else previous, is_keyframe)
            )
            previous, since = last_codes(codes, self._books), 1 if is_keyframe else since + 1
            is_interrupted = False
        return planned

    def end_at(self, total_samples: int) -> None:
        """The stream has so many samples; what is beyond them when that is known at last, readers play too."""
        if self._writer.n_packets <= self.most_packets(total_samples):
            self._total_samples = total_samples

    def most_packets(self, total_samples: int) -> int:
        """Return how many packets there may be of so many samples."""
        return -(-(self.header.preskip + total_samples) // self.header.packet_samples)

    def packet(self, writing: Writing, payload: bytes) -> bytes:
        """Return the next packet, planned as `writing`."""
        n_books = writing.codes.shape[1]
        redundancy = self._redundancy(n_books)
        packet = self._writer.packet(
            redundancy + payload, n_books, is_keyframe=writing.is_keyframe, has_fec=bool(redundancy)
        )
        if self.header.entropy_mode != RAW:
            self._previous = last_codes(writing.codes, self._books)
        self._repeated = writing.codes[:, :REDUNDANT_BOOKS]
        self._since_keyframe = 1 if writing.is_keyframe else self._since_keyframe + 1
        self._is_interrupted = False
        return self._lead() + packet

    def silence(self) -> bytes:
        """Return a packet of silence."""
        self._interrupt()
        return self._lead() + self._writer.silence(is_keyframe=self.header.entropy_mode == RAW)

    def lose(self) -> None:
        """Leave a gap where a packet was lost."""
        self._interrupt()
        self._writer.lose(1)

    def rest(self) -> bytes:
        """Return what is to be said beside packets and was not yet."""
        return self._lead()

    def _lead(self) -> bytes:
        """The header before everything, and the end once it is known."""
        lead = b"" if self._has_begun else self._writer.begin()
        self._has_begun = True
        if not self._has_end and self._total_samples is not None:
            lead += self._writer.end(self._total_samples)
            self._has_end = True
        return lead

    def _redundancy(self, n_books: int) -> bytes:
        repeated = self._repeated
        wanted = min(REDUNDANT_BOOKS, n_books)
        if not self.header.fec or repeated is None or repeated.shape[1] < wanted:
            return b""
        return pack(repeated[:, :wanted], self.header.bits_per_book)

    def _interrupt(self) -> None:
        self._is_interrupted, self._repeated = True, None


class PacketTaker:
    """Says what is to be read of the packets of one stream: after a loss, only what needs none before it."""

    def __init__(self, header: Header, books: int) -> None:
        self._header = header
        self._books = books
        self._absent = np.full(books, ABSENT, np.int64)
        self._previous = self._absent
        self._is_broken = False

    def reading(self, arrival: Arrival) -> Reading | None:
        """Return what can be read of what arrived, None if nothing can."""
        packet, rescuer = arrival.packet, arrival.rescuer
        if packet is None:
            return None if rescuer is None else self._rescued(rescuer)
        if packet.is_silence or (self._is_broken and not packet.is_keyframe):
            return None
        begin = redundancy_bytes(self._header, packet.n_books) if packet.has_fec else 0
        mode, previous = self._header.entropy_mode, self._absent if packet.is_keyframe else self._previous
        return self._reading(packet.payload[begin:], packet.n_books, mode, previous, packet.is_keyframe)

    def read(self, arrival: Arrival, codes: Array | None) -> None:
        """Take the codes that were read of what arrived, None if there are none."""
        packet = arrival.packet
        if packet is not None and packet.is_silence:
            self._previous = self._absent
        elif packet is None or codes is None:
            # In mode raw no packet needs another one.
            self._is_broken = self._header.entropy_mode != RAW
        elif self._header.entropy_mode != RAW:
            self._is_broken, self._previous = False, last_codes(codes, self._books)

    def _rescued(self, rescuer: Packet) -> Reading | None:
        """What the packet after a lost one repeats of it."""
        if not rescuer.has_fec:
            return None
        end, n_books = redundancy_bytes(self._header, rescuer.n_books), min(REDUNDANT_BOOKS, rescuer.n_books)
        return self._reading(rescuer.payload[:end], n_books, RAW, self._absent, True)

    def _reading(self, payload: bytes, n_books: int, mode: int, previous: Array, is_keyframe: bool) -> Reading:
        return Reading(payload, self._header.frames_per_packet, n_books, mode, previous, is_keyframe)
