"""SNC1, the container of neural codec streams: headers and packets. docs/snc1.md describes every byte.

A stream is a header, then packets of `frames_per_packet` frames each, then perhaps the end and a seek index. A *book*
is one stage of the residual quantiser; how many are sent is chosen packet by packet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from streamer.audio.crc import crc16, crc32c
from streamer.audio.pcm import MAX_RATE, MIN_RATE
from streamer.errors import InvalidRequest

MAGIC = b"SNC1"
VERSION = 1
HEADER_BYTES = 48
# A header may be longer than what is known of it; not by more than this.
MAX_HEADER_BYTES = 1024
RAW, TABLES, NETWORK, FLOAT_NETWORK = range(4)
ENTROPY_MODES = ("raw", "tables", "network", "float")
MAX_BOOKS = 32
MAX_BITS_PER_BOOK = 16
MAX_FRAMES_PER_PACKET = 16
MAX_SAMPLES = 1 << 48
# Bytes of a packet that are not payload: first byte, sequence number, at least one of length, checksum.
PACKET_OVERHEAD = 5
# Books of the packet before that a packet may repeat (spec of the payload: docs/snc1.md).
REDUNDANT_BOOKS = 2

_HEADER = struct.Struct("<4sBBHIHBBBBHHHQ8sI")
_CHECKSUM = struct.Struct("<I")
_UNKNOWN_SAMPLES = (1 << 64) - 1
_DTX, _FEC, _INDEX = 1, 2, 4
# Flags that nobody has given a meaning: a decoder that does not know one of the first kind would decode nonsense.
_CRITICAL_FLAGS = 0b0011_1000
_KEYFRAME, _SILENCE, _REDUNDANCY, _BOOKS = 0x80, 0x40, 0x20, 0x1F


@dataclass(frozen=True, slots=True)
class Header:
    """What holds for a whole stream.

    `frame_samples` is the length of a frame; `books` the most that a packet may send, of `bits_per_book` each;
    `keyframe_every` counts packets; `coarse_books` are those that an entropy network models. A decoder drops the first
    `preskip` samples and yields `total_samples`, which is None where the end of a live stream will say it. `model` and
    `runtime` are fingerprints of the decoder and of what runs it (0 where nothing depends on that).
    """

    sample_rate: int
    frame_samples: int
    books: int
    bits_per_book: int
    frames_per_packet: int = 1
    entropy_mode: int = RAW
    keyframe_every: int = 1
    coarse_books: int = 0
    preskip: int = 0
    total_samples: int | None = None
    model: bytes = bytes(8)
    runtime: int = 0
    dtx: bool = False
    fec: bool = False
    has_index: bool = False

    @property
    def packet_samples(self) -> int:
        """How many samples a packet stands for."""
        return self.frames_per_packet * self.frame_samples

    @property
    def max_payload_bytes(self) -> int:
        """The most that a payload can need, redundancy included."""
        redundancy = redundancy_bytes(self, self.books) if self.fec else 0
        return redundancy + _most_code_bytes(self, self.books)

    def n_packets(self, total_samples: int) -> int:
        """Return how many packets hold `total_samples` and the preskip before them."""
        return -(-(self.preskip + total_samples) // self.packet_samples) if total_samples else 0


@dataclass(frozen=True, slots=True)
class Packet:
    """`frames_per_packet` frames of `n_books` books each; `seq` counts modulo 256.

    A keyframe needs no packet before it for its entropy coding. Silence has no payload. A payload with redundancy
    (`has_fec`) begins with that.
    """

    seq: int
    n_books: int
    is_keyframe: bool
    is_silence: bool
    has_fec: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """`n_packets` packets in a row that did not arrive, or not whole."""

    n_packets: int


def encode_header(header: Header) -> bytes:
    """Return the 48 bytes of `header`; raises `InvalidRequest` for what no header can say."""
    check_header(header)
    total = _UNKNOWN_SAMPLES if header.total_samples is None else header.total_samples
    known = _HEADER.pack(
        MAGIC,
        VERSION,
        header.entropy_mode,
        HEADER_BYTES,
        header.sample_rate,
        header.frame_samples,
        header.books,
        header.bits_per_book,
        header.frames_per_packet,
        _DTX * header.dtx | _FEC * header.fec | _INDEX * header.has_index,
        header.preskip,
        header.keyframe_every,
        header.coarse_books,
        total,
        header.model,
        header.runtime,
    )
    return known + _CHECKSUM.pack(crc32c(known))


def header_size(head: bytes) -> int | None:
    """Return how long the header is that `head` begins; None while that is not known.

    Raises `InvalidRequest` when these bytes begin no SNC1 stream of this version.
    """
    if not MAGIC.startswith(head[:4]):
        raise InvalidRequest("expected an snc1 stream, got one that does not begin with SNC1")
    if len(head) > 4 and head[4] != VERSION:
        raise InvalidRequest(f"expected an snc1 stream of version {VERSION}, got {head[4]}")
    if len(head) < 8:
        return None
    size = int.from_bytes(head[6:8], "little")
    if not HEADER_BYTES <= size <= MAX_HEADER_BYTES:
        raise InvalidRequest(f"expected an snc1 header of {HEADER_BYTES} to {MAX_HEADER_BYTES} bytes, got {size}")
    return size


def decode_header(data: bytes) -> Header:
    """Read a header of `header_size` bytes; raises `InvalidRequest` where it is damaged or says what is not allowed."""
    known = data[: _HEADER.size]
    if len(data) < HEADER_BYTES or _CHECKSUM.unpack_from(data, _HEADER.size)[0] != crc32c(known):
        raise InvalidRequest("snc1 header is damaged: its checksum differs")
    _, _, mode, _, rate, frame, books, bits, frames, flags, preskip, every, coarse, total, model, runtime = (
        _HEADER.unpack(known)
    )
    if flags & _CRITICAL_FLAGS:
        raise InvalidRequest(f"snc1 header has flags {flags & _CRITICAL_FLAGS:#x}, which mean nothing in this version")
    header = Header(
        sample_rate=rate,
        frame_samples=frame,
        books=books,
        bits_per_book=bits,
        frames_per_packet=frames,
        entropy_mode=mode,
        keyframe_every=every,
        coarse_books=coarse,
        preskip=preskip,
        total_samples=None if total == _UNKNOWN_SAMPLES else total,
        model=model,
        runtime=runtime,
        dtx=bool(flags & _DTX),
        fec=bool(flags & _FEC),
        has_index=bool(flags & _INDEX),
    )
    check_header(header)
    return header


def check_header(header: Header) -> None:
    """Raise `InvalidRequest` unless every field is within the limits of the format."""
    for name, least, most in (
        ("sample_rate", MIN_RATE, MAX_RATE),
        ("frame_samples", 1, 0xFFFF),
        ("books", 1, MAX_BOOKS),
        ("bits_per_book", 1, MAX_BITS_PER_BOOK),
        ("frames_per_packet", 1, MAX_FRAMES_PER_PACKET),
        ("entropy_mode", RAW, FLOAT_NETWORK),
        ("keyframe_every", 1, 0xFFFF),
        ("coarse_books", 0, header.books),
        ("preskip", 0, 0xFFFF),
        ("runtime", 0, 0xFFFFFFFF),
    ):
        value = getattr(header, name)
        if not least <= value <= most:
            raise InvalidRequest(f"expected {name} from {least} to {most} in an snc1 header, got {value}")
    if len(header.model) != 8:
        raise InvalidRequest(f"expected a model fingerprint of 8 bytes in an snc1 header, got {len(header.model)}")
    if header.total_samples is not None and not 0 <= header.total_samples <= MAX_SAMPLES:
        raise InvalidRequest(
            f"expected total_samples of at most {MAX_SAMPLES} in an snc1 header, got {header.total_samples}"
        )


def encode_packet(packet: Packet) -> bytes:
    """Return the bytes of `packet`: first byte, sequence number, length, payload, checksum."""
    first = packet.n_books - 1
    first |= _KEYFRAME * packet.is_keyframe | _SILENCE * packet.is_silence | _REDUNDANCY * packet.has_fec
    body = bytes((first, packet.seq)) + encode_length(len(packet.payload)) + packet.payload
    return body + crc16(body).to_bytes(2, "little")


def encode_length(length: int) -> bytes:
    """Return a payload's length as a varint (LEB128) of one or two bytes."""
    return bytes((length,)) if length < 0x80 else bytes((length & 0x7F | 0x80, length >> 7))


def redundancy_bytes(header: Header, n_books: int) -> int:
    """Return how many bytes of a payload of `n_books` books repeat the packet before."""
    return raw_bytes(header, min(REDUNDANT_BOOKS, n_books))


def raw_bytes(header: Header, n_books: int) -> int:
    """Return how many bytes the codes of a packet take without entropy coding."""
    return -(-header.frames_per_packet * n_books * header.bits_per_book // 8)


def check_packet(header: Header, packet: Packet) -> None:
    """Raise `InvalidRequest` unless `packet` is one that a stream with this `header` may hold."""
    if packet.is_silence:
        if not header.dtx or packet.has_fec or packet.n_books != 1 or packet.payload:
            raise InvalidRequest("expected silence as an empty packet of one book, in a stream with dtx")
        return
    if not 1 <= packet.n_books <= header.books:
        raise InvalidRequest(f"expected an snc1 packet of 1 to {header.books} books, got {packet.n_books}")
    if packet.has_fec and not header.fec:
        raise InvalidRequest("expected redundancy only where the snc1 header announces it")
    redundancy = redundancy_bytes(header, packet.n_books) if packet.has_fec else 0
    most = redundancy + _most_code_bytes(header, packet.n_books)
    least = most if header.entropy_mode == RAW else redundancy
    if not least <= len(packet.payload) <= most:
        raise InvalidRequest(f"expected a payload of {least} to {most} bytes, got {len(packet.payload)}")


def _most_code_bytes(header: Header, n_books: int) -> int:
    """The most that the codes of a packet can take: entropy coding spends up to 16 bits on the rarest of symbols."""
    if header.entropy_mode == RAW:
        return raw_bytes(header, n_books)
    return 2 * header.frames_per_packet * n_books + 2


def parse_first_byte(first: int) -> tuple[int, bool, bool, bool]:
    """Return `n_books`, `is_keyframe`, `is_silence` and `has_fec` of a packet's first byte."""
    return (first & _BOOKS) + 1, bool(first & _KEYFRAME), bool(first & _SILENCE), bool(first & _REDUNDANCY)


def lower(packet: Packet, n_books: int, frames: int, bits: int) -> Packet:
    """Return a raw `packet` (mode 0) of `frames` frames and `bits` per book with no more than `n_books` books.

    Nothing is decoded: payloads are book after book, so the tail is cut off. Raises `InvalidRequest` if it has fewer.
    """
    if not 1 <= n_books <= packet.n_books:
        raise InvalidRequest(f"expected 1 to {packet.n_books} books to keep, got {n_books}")
    if packet.is_silence or n_books == packet.n_books:
        return packet
    payload = b""
    codes = packet.payload
    if packet.has_fec:
        size = -(-frames * min(REDUNDANT_BOOKS, packet.n_books) * bits // 8)
        payload = _cut(codes[:size], frames * min(REDUNDANT_BOOKS, n_books) * bits)
        codes = codes[size:]
    payload += _cut(codes, frames * n_books * bits)
    return Packet(packet.seq, n_books, packet.is_keyframe, False, packet.has_fec, payload)


def _cut(data: bytes, n_bits: int) -> bytes:
    """The first `n_bits` of `data`; the rest of the last byte is zero."""
    size = -(-n_bits // 8)
    if len(data) < size:
        raise InvalidRequest(f"expected a payload of at least {size} bytes, got {len(data)}")
    mask = 0xFF << (size * 8 - n_bits) & 0xFF
    return data[: size - 1] + bytes((data[size - 1] & mask,))
