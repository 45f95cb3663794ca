"""Mutated and random SNC1 streams by the hundred thousand, through every reader that there is."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from streamer.audio.snc1 import FLOAT_NETWORK, NETWORK, PACKET_OVERHEAD, RAW, TABLES, Header, Lost, Packet, lower
from streamer.audio.snc1_description import describe
from streamer.audio.snc1_index import IndexedReader
from streamer.audio.snc1_reader import PacketReader
from streamer.errors import InvalidRequest
from streamer.tasks.bit_packing import unpack
from streamer.tasks.code_tables import ABSENT, CodeTables
from tests.audio.mutations import mutated
from tests.audio.snc1_streams import LIVE, file_of, most_samples, packets, pieces, stream
from tests.tasks.test_code_tables import arrays

FILES = [
    (header, file_of(packets(40, header, seed=mode), header))
    for mode in (RAW, TABLES, NETWORK, FLOAT_NETWORK)
    for header in [replace(LIVE, entropy_mode=mode, has_index=True, bits_per_book=6, books=5)]
]
STREAMS = [
    stream(packets(40, header, 1), replace(header, total_samples=most_samples(40, header))) for header, _ in FILES
]
CODES = CodeTables.of(arrays())
START = np.full(5, ABSENT)


def checked(items: Iterator[Packet | Lost], data: bytes) -> Iterator[Packet]:
    """Yield the packets; there are no more than the bytes can hold, and a loss is no longer than numbers tell."""
    n_bytes = 0
    for item in items:
        if isinstance(item, Lost):
            assert 0 < item.n_packets <= 255
            continue
        n_bytes += len(item.payload) + PACKET_OVERHEAD
        assert n_bytes <= len(data)
        yield item


def decode(header: Header, packet: Packet) -> None:
    """What a task does with a packet, whatever is in it."""
    if packet.is_silence or (header.books, header.bits_per_book) != (5, 6):
        return
    frames = header.frames_per_packet
    if header.entropy_mode == RAW:
        codes = unpack(packet.payload, frames, packet.n_books, 6)
        kept = lower(packet, 1, frames, 6)
        assert len(kept.payload) <= len(packet.payload)
    else:
        codes = CODES.decode(packet.payload, frames, packet.n_books, START)
    assert codes.shape == (frames, packet.n_books)
    assert 0 <= codes.min() <= codes.max() < 64


def read(dice: random.Random, data: bytes) -> None:
    reader = PacketReader()
    size = dice.choice((1, 7, 100, 5000))
    for piece in pieces(data, [size]):
        for packet in checked(reader.feed(piece), data):
            assert reader.header is not None
            decode(reader.header, packet)
        assert len(reader._buffer) <= (2 * (reader.header.max_payload_bytes + 6) if reader.header else 48)
    list(checked(reader.finish(), data))
    if reader.missing:
        raise InvalidRequest(reader.missing)


def seek(dice: random.Random, data: bytes) -> None:
    reader = IndexedReader(io.BytesIO(data))
    start = reader.start(dice.randrange(reader.total_samples or 1), 21)
    assert start.entry.offset <= len(data)
    list(checked(reader.packets(start), data))


def described(data: bytes) -> None:
    found = describe(data)
    assert 0 <= found.payload_bytes <= found.packet_bytes <= found.n_bytes == len(data)
    assert 0 <= found.n_lost <= found.n_packets
    if found.missing:
        raise InvalidRequest(found.missing)


def noise(dice: random.Random, data: bytes) -> bytes:
    """A good header and anything."""
    return data[:48] + dice.randbytes(dice.randrange(2000))


KINDS: dict[str, Callable[[random.Random], None]] = {
    "files": lambda dice: read(dice, mutated(dice, dice.choice(FILES)[1])),
    "streams": lambda dice: read(dice, mutated(dice, dice.choice(STREAMS))),
    "noise": lambda dice: read(dice, noise(dice, dice.choice(STREAMS))),
    "seeking": lambda dice: seek(dice, mutated(dice, dice.choice(FILES)[1])),
    "describing": lambda dice: described(mutated(dice, dice.choice(FILES)[1])),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_cases", [100, pytest.param(20_000, marks=pytest.mark.soak)])
def test_bad_bytes_are_refused_or_read(kind: str, n_cases: int) -> None:
    """No other exception, no packet that is too many, no end that does not come; both outcomes occur."""
    found: Counter[str] = Counter()
    for seed in range(n_cases):
        try:
            KINDS[kind](random.Random(seed))
        except InvalidRequest:
            found["refused"] += 1
        else:
            found["read"] += 1
    assert found["read"]
    assert found["refused"]
