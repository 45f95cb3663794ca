"""Headers, packets and checksums of SNC1."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.crc import crc16, crc32c
from streamer.audio.snc1 import (
    HEADER_BYTES,
    NETWORK,
    TABLES,
    Header,
    Packet,
    check_packet,
    decode_header,
    encode_header,
    encode_packet,
    header_size,
    lower,
    raw_bytes,
)
from streamer.errors import InvalidRequest
from streamer.tasks.bit_packing import pack, unpack
from tests.audio.snc1_streams import LIVE, headers

HEADER = Header(16000, 320, 12, 10)


def test_checksums_are_those_of_their_standards() -> None:
    """The check values of CRC-32/ISCSI and CRC-16/IBM-3740, and a vector of RFC 3720 (B.4)."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc16(b"123456789") == 0x29B1


@settings(deadline=None)
@given(headers(), st.one_of(st.none(), st.integers(0, 2**48)), st.booleans())
def test_headers_come_back(header: Header, total: int | None, has_index: bool) -> None:
    """What a header says is read as it was written, in 48 bytes."""
    header = replace(header, total_samples=total, has_index=has_index)
    data = encode_header(header)
    assert len(data) == header_size(data) == HEADER_BYTES
    assert decode_header(data) == header


def test_a_longer_header_is_read() -> None:
    """A later program may add to the header; its length tells where packets begin."""
    data = encode_header(HEADER)
    longer = data[:6] + struct.pack("<H", 60) + data[8:44]
    longer += struct.pack("<I", crc32c(longer)) + b"from later on"[:12]
    assert header_size(longer) == 60
    assert decode_header(longer) == HEADER


def test_every_flipped_bit_of_a_header_is_seen() -> None:
    """Nothing in it can change unseen."""
    data = encode_header(HEADER)
    for place in range(8 * HEADER_BYTES):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(InvalidRequest):
            header_size(bytes(flipped)) and decode_header(bytes(flipped))


def sealed(place: int, value: bytes) -> bytes:
    """A header with other bytes at a place, and the right checksum."""
    data = encode_header(HEADER)[:44]
    data = data[:place] + value + data[place + len(value) :]
    return data + struct.pack("<I", crc32c(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF", "expected an snc1 stream, got one that does not begin with SNC1"),
        (b"SNC1\2", "expected an snc1 stream of version 1, got 2"),
        (b"SNC1\1\0\x2f\0", "expected an snc1 header of 48 to 1024 bytes, got 47"),
        (b"SNC1\1\0\1\4", "expected an snc1 header of 48 to 1024 bytes, got 1025"),
        (encode_header(HEADER)[:47] + b"\0", "snc1 header is damaged: its checksum differs"),
        (sealed(17, b"\x08"), "snc1 header has flags 0x8, which mean nothing in this version"),
        (sealed(17, b"\x3f"), "snc1 header has flags 0x38, which mean nothing in this version"),
        (sealed(5, b"\4"), "expected entropy_mode from 0 to 3 in an snc1 header, got 4"),
        (sealed(8, struct.pack("<I", 7999)), "expected sample_rate from 8000 to 48000 in an snc1 header, got 7999"),
        (sealed(12, bytes(2)), "expected frame_samples from 1 to 65535 in an snc1 header, got 0"),
        (sealed(14, b"\x21"), "expected books from 1 to 32 in an snc1 header, got 33"),
        (sealed(15, b"\x11"), "expected bits_per_book from 1 to 16 in an snc1 header, got 17"),
        (sealed(16, b"\0"), "expected frames_per_packet from 1 to 16 in an snc1 header, got 0"),
        (sealed(16, b"\x11"), "expected frames_per_packet from 1 to 16 in an snc1 header, got 17"),
        (sealed(20, bytes(2)), "expected keyframe_every from 1 to 65535 in an snc1 header, got 0"),
        (sealed(22, b"\x0d\0"), "expected coarse_books from 0 to 12 in an snc1 header, got 13"),
        (sealed(24, b"\xff" * 7 + b"\0"), "expected total_samples of at most 281474976710656 in an snc1 header"),
    ],
)
def test_bad_headers_are_refused_by_name(data: bytes, message: str) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        header_size(data) and decode_header(data)


def test_flags_that_may_be_ignored_are() -> None:
    """The two highest bits are for what a decoder need not know."""
    assert decode_header(sealed(17, b"\xc0")) == HEADER


def test_a_header_waits_for_its_length() -> None:
    """Too few bytes say nothing yet."""
    data = encode_header(HEADER)
    assert [header_size(data[:n]) for n in range(8)] == [None] * 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": b"short"}, "expected a model fingerprint of 8 bytes in an snc1 header, got 5"),
        ({"preskip": 65536}, "expected preskip from 0 to 65535 in an snc1 header, got 65536"),
        ({"runtime": -1}, "expected runtime from 0 to 4294967295 in an snc1 header, got -1"),
    ],
)
def test_what_no_header_can_say_is_not_written(changes: dict[str, int], message: str) -> None:
    """A writer is told at once."""
    with pytest.raises(InvalidRequest, match=f"^{message}$"):
        encode_header(replace(HEADER, **changes))


def test_packets_are_laid_out_as_documented() -> None:
    """First byte, number, length, payload, checksum; a length from 128 bytes on takes two bytes."""
    data = encode_packet(Packet(7, 3, True, False, False, b"abcd"))
    assert data == b"\x82\x07\x04abcd" + crc16(b"\x82\x07\x04abcd").to_bytes(2, "little")
    assert encode_packet(Packet(255, 1, False, True, False, b""))[:3] == b"\x40\xff\x00"
    assert encode_packet(Packet(0, 32, False, False, True, bytes(300)))[:4] == b"\x3f\x00\xac\x02"


@pytest.mark.parametrize(
    ("header", "packet", "message"),
    [
        (HEADER, Packet(0, 13, True, False, False, bytes(17)), "expected an snc1 packet of 1 to 12 books, got 13"),
        (HEADER, Packet(0, 3, True, False, False, bytes(3)), "expected a payload of 4 to 4 bytes, got 3"),
        (HEADER, Packet(0, 3, True, False, False, bytes(5)), "expected a payload of 4 to 4 bytes, got 5"),
        (HEADER, Packet(0, 3, True, False, True, bytes(7)), "expected redundancy only where the snc1 header announces"),
        (LIVE, Packet(0, 3, True, False, True, bytes(12)), "expected a payload of 13 to 13 bytes, got 12"),
        (
            replace(LIVE, entropy_mode=TABLES),
            Packet(0, 3, True, False, True, bytes(4)),
            "expected a payload of 5 to 19",
        ),
        (
            replace(HEADER, entropy_mode=NETWORK),
            Packet(0, 3, True, False, False, bytes(9)),
            "expected a payload of 0 to",
        ),
        (HEADER, Packet(0, 1, True, True, False, b""), "expected silence as an empty packet of one book, in a stream"),
        (LIVE, Packet(0, 20, True, True, False, b""), "expected silence as an empty packet of one book, in a stream"),
        (
            LIVE,
            Packet(0, 1, True, True, True, bytes(3)),
            "expected silence as an empty packet of one book, in a stream",
        ),
    ],
)
def test_packets_that_contradict_the_header_are_refused(header: Header, packet: Packet, message: str) -> None:
    """A payload is as long as its books need, and no longer."""
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        check_packet(header, packet)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_relay_lowers_the_bitrate_without_decoding(data: st.DataObject) -> None:
    """The codes of the books that are kept are what they were, in a packet of the right length; redundancy, too."""
    header = data.draw(headers().filter(lambda each: each.entropy_mode == 0))
    bits, frames = header.bits_per_book, header.frames_per_packet
    n_books, has_fec = data.draw(st.integers(1, header.books)), data.draw(st.booleans())
    kept = data.draw(st.integers(1, n_books))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    codes = rng.integers(0, 1 << bits, (frames, n_books))
    before = rng.integers(0, 1 << bits, (frames, min(2, n_books)))
    payload = pack(before, bits) * has_fec + pack(codes, bits)
    lowered = lower(Packet(5, n_books, True, False, has_fec, payload), kept, frames, bits)
    check_packet(replace(header, fec=True), lowered)
    assert lowered.n_books == kept
    if has_fec:
        redundancy = pack(before[:, : min(2, kept)], bits)
        assert lowered.payload.startswith(redundancy)
        lowered = replace(lowered, payload=lowered.payload[len(redundancy) :])
    assert lowered.payload == pack(codes[:, :kept], bits)
    np.testing.assert_array_equal(unpack(lowered.payload, frames, kept, bits), codes[:, :kept])


def test_a_relay_lowers_redundancy_too() -> None:
    """A packet of one book repeats one."""
    before, codes = np.array([[1, 2]]), np.array([[3, 4, 5]])
    packet = Packet(0, 3, True, False, True, pack(before, 10) + pack(codes, 10))
    assert lower(packet, 1, 1, 10).payload == pack(before[:, :1], 10) + pack(codes[:, :1], 10)


def test_a_relay_cannot_add_books() -> None:
    """Nor take what is not there."""
    whole = Packet(0, 3, True, False, False, bytes(raw_bytes(HEADER, 3)))
    assert lower(whole, 3, 1, 10) is whole
    with pytest.raises(InvalidRequest, match="^expected 1 to 3 books to keep, got 4$"):
        lower(whole, 4, 1, 10)
    with pytest.raises(InvalidRequest, match="^expected a payload of at least 3 bytes, got 1$"):
        lower(replace(whole, payload=b"x"), 2, 1, 10)
