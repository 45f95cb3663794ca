"""What an SNC1 stream holds at one place of its bytes: a packet, an end, an index, nothing, or not enough to tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streamer.audio import snc1_chunks as chunks
from streamer.audio.crc import crc16
from streamer.audio.snc1 import Header, Packet, check_packet, parse_first_byte
from streamer.errors import InvalidRequest


class Verdict(Enum):
    """Why nothing was found: there is nothing, or more bytes are needed to tell."""

    NOTHING = 0
    MORE = 1


@dataclass(frozen=True, slots=True)
class End:
    """The end of a stream, which says how many samples it has."""

    total_samples: int


@dataclass(frozen=True, slots=True)
class IndexHead:
    """The begin of a seek index. Whether that is whole, only its reader needs to know."""


Item = Packet | End | IndexHead


def item_at(data: bytearray, start: int, header: Header) -> tuple[Item, int] | Verdict:
    """Return the item that begins at `start` and where it ends, or why there is none.

    Raises `InvalidRequest` for a packet with a right checksum that a stream with this `header` may not hold.
    """
    if start >= len(data):
        return Verdict.MORE
    return _chunk_at(data, start) if data[start] == chunks.MARK else _packet_at(data, start, header)


def _chunk_at(data: bytearray, start: int) -> tuple[Item, int] | Verdict:
    magic = bytes(data[start : start + 4])
    if magic == chunks.INDEX_MAGIC:
        return IndexHead(), start + len(magic)
    if magic == chunks.END_MAGIC:
        end = start + chunks.END_BYTES
        if len(data) < end:
            return Verdict.MORE
        total = chunks.decode_end(bytes(data[start:end]))
        return Verdict.NOTHING if total is None else (End(total), end)
    is_begin = chunks.INDEX_MAGIC.startswith(magic) or chunks.END_MAGIC.startswith(magic)
    return Verdict.MORE if is_begin else Verdict.NOTHING


def _packet_at(data: bytearray, start: int, header: Header) -> tuple[Item, int] | Verdict:
    # The first byte, the sequence number and the length, which is a varint of at most two bytes.
    if len(data) < start + 3:
        return Verdict.MORE
    length, begin = data[start + 2], start + 3
    if length >= 0x80:
        if len(data) < start + 4:
            return Verdict.MORE
        length, begin = length & 0x7F | data[start + 3] << 7, start + 4
        if length < 0x80:
            return Verdict.NOTHING
    if length > header.max_payload_bytes:
        return Verdict.NOTHING
    end = begin + length
    if len(data) < end + 2:
        return Verdict.MORE
    if crc16(bytes(data[start:end])) != data[end] | data[end + 1] << 8:
        return Verdict.NOTHING
    n_books, is_keyframe, is_silence, has_fec = parse_first_byte(data[start])
    packet = Packet(data[start + 1], n_books, is_keyframe, is_silence, has_fec, bytes(data[begin:end]))
    check_packet(header, packet)
    return packet, end + 2


def candidate_at(data: bytearray, start: int, header: Header) -> tuple[Item, int] | Verdict:
    """Like `item_at`, where anything may be: what looks like a packet that may not be there is none."""
    try:
        return item_at(data, start, header)
    except InvalidRequest:
        return Verdict.NOTHING
