"""SNC1 streams to read, to cut and to damage."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator

from hypothesis import strategies as st

from streamer.audio.snc1 import FLOAT_NETWORK, RAW, Header, Lost, Packet, raw_bytes, redundancy_bytes
from streamer.audio.snc1_reader import PacketReader
from streamer.audio.snc1_writer import FileWriter, StreamWriter

LIVE = Header(16000, 320, 12, 10, frames_per_packet=2, preskip=480, dtx=True, fec=True)
Item = Packet | Lost


def payload(dice: random.Random, header: Header, n_books: int, has_fec: bool) -> bytes:
    """Random bytes of a length that the header allows."""
    size = raw_bytes(header, n_books)
    if header.entropy_mode != RAW:
        size = dice.randrange(size + 1)
    return dice.randbytes(size + has_fec * redundancy_bytes(header, n_books))


def packet(dice: random.Random, header: Header, seq: int) -> Packet:
    """Any packet that the header allows."""
    is_keyframe = header.entropy_mode == RAW or seq == 0 or dice.random() < 0.1
    if header.dtx and dice.random() < 0.2:
        return Packet(seq % 256, 1, is_keyframe, True, False, b"")
    n_books = dice.randint(1, header.books)
    has_fec = header.fec and dice.random() < 0.5
    return Packet(seq % 256, n_books, is_keyframe, False, has_fec, payload(dice, header, n_books, has_fec))


def packets(n_packets: int, header: Header = LIVE, seed: int = 0) -> list[Packet]:
    """Return the packets of a stream."""
    dice = random.Random(seed)
    return [packet(dice, header, seq) for seq in range(n_packets)]


def append(writer: StreamWriter | FileWriter, each: Packet) -> bytes | None:
    """Have `each` written, which gets the writer's next number; return what a `StreamWriter` returns."""
    return writer.packet(
        each.payload, each.n_books, is_keyframe=each.is_keyframe, has_fec=each.has_fec, is_silence=each.is_silence
    )


def written(writer: StreamWriter, sent: Iterable[Packet]) -> list[bytes]:
    """Return the bytes of each packet."""
    return [append(writer, each) or b"" for each in sent]


def stream(sent: list[Packet], header: Header = LIVE) -> bytes:
    """Return the header and the packets."""
    writer = StreamWriter(header)
    return writer.begin() + b"".join(written(writer, sent))


def most_samples(n_packets: int, header: Header) -> int:
    """Return the most samples that so many packets hold."""
    return n_packets * header.packet_samples - header.preskip


def file_of(sent: list[Packet], header: Header, total_samples: int | None = None) -> bytes:
    """Return a file, as `FileWriter` makes it."""
    file = io.BytesIO()
    writer = FileWriter(file, header)
    for each in sent:
        append(writer, each)
    writer.finish(most_samples(len(sent), header) if total_samples is None else total_samples)
    return file.getvalue()


def read(data: bytes, sizes: Iterable[int] = ()) -> tuple[list[Item], PacketReader]:
    """Feed pieces of `sizes` bytes, the last size over and over, or all at once; return all that was read."""
    reader = PacketReader()
    items: list[Item] = []
    for piece in pieces(data, sizes):
        items += reader.feed(piece)
    items += reader.finish()
    return items, reader


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut `data`."""
    size, place, more = len(data), 0, iter(sizes)
    while place < len(data):
        size = next(more, size)
        yield data[place : place + size]
        place += size


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Headers of all kinds, of streams whose packets are not long."""
    books = draw(st.integers(1, 32))
    return Header(
        sample_rate=draw(st.sampled_from((8000, 16000, 24000, 48000))),
        frame_samples=draw(st.sampled_from((1, 320, 1920, 65535))),
        books=books,
        bits_per_book=draw(st.integers(1, 16)),
        frames_per_packet=draw(st.integers(1, 16)),
        entropy_mode=draw(st.integers(RAW, FLOAT_NETWORK)),
        keyframe_every=draw(st.integers(1, 65535)),
        coarse_books=draw(st.integers(0, books)),
        preskip=draw(st.integers(0, 65535)),
        total_samples=None,
        model=draw(st.binary(min_size=8, max_size=8)),
        runtime=draw(st.integers(0, 2**32 - 1)),
        dtx=draw(st.booleans()),
        fec=draw(st.booleans()),
    )
