"""SNC1 files: their headers and indices, seeking, and what they say of themselves."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio import snc1_chunks as chunks
from streamer.audio import snc1_index, snc1_writer
from streamer.audio.snc1 import TABLES, Lost, Packet, encode_header, encode_packet
from streamer.audio.snc1_chunks import Entry
from streamer.audio.snc1_description import describe
from streamer.audio.snc1_index import IndexedReader
from streamer.audio.snc1_writer import FileWriter
from streamer.errors import InvalidRequest
from tests.audio.snc1_streams import LIVE, append, file_of, most_samples, packets, read, stream

HEADER = replace(LIVE, entropy_mode=TABLES, has_index=True)
# Ten seconds: 250 packets of 40 ms.
SENT = packets(250, HEADER)
TOTAL = most_samples(250, HEADER) - 50
FILE = file_of(SENT, HEADER, TOTAL)
PLACES = [48 + sum(len(encode_packet(each)) for each in SENT[:number]) for number in range(251)]
PREROLL = 21


class Pipe(io.BytesIO):
    """A file that cannot be sought in."""

    def seekable(self) -> bool:
        return False


def to_pipe(total: int, ahead: int | None, has_index: bool = False) -> bytes:
    """Return what a pipe gets, which is told the end `ahead` packets before it, or at the end."""
    pipe = Pipe()
    writer = FileWriter(pipe, replace(HEADER, has_index=has_index))
    for number, each in enumerate(SENT):
        if number == len(SENT) - (ahead or 0):
            writer.end(total)
        append(writer, each)
    writer.finish(total)
    return pipe.getvalue()


def test_a_file_says_how_long_it_is_in_its_header() -> None:
    """Where it can be sought in; an index is behind the packets."""
    items, reader = read(FILE, [1000])
    assert items == SENT
    assert reader.header == replace(HEADER, total_samples=TOTAL)
    assert (reader.missing, reader.damaged_bytes) == (None, 0)
    assert FILE[PLACES[-1] :].startswith(b"SIDX")
    assert FILE.endswith(struct.pack("<Q", PLACES[-1]) + b"SNCX")


def test_a_file_may_begin_inside_another_one() -> None:
    """Places count from its header; what is before it stays."""
    file = io.BytesIO()
    file.write(b"before")
    writer = FileWriter(file, HEADER)
    writer.packet(b"", 1, is_keyframe=True, is_silence=True)
    writer.finish(100)
    assert file.getvalue() == b"before" + file_of([Packet(0, 1, True, True, False, b"")], HEADER, 100)


@pytest.mark.parametrize("ahead", [None, 1, 3])
def test_a_pipe_is_told_how_long_the_stream_is(ahead: int | None) -> None:
    """By the end, once."""
    data = to_pipe(TOTAL, ahead)
    items, reader = read(data)
    assert items == SENT
    assert (reader.header, reader.total_samples) == (replace(HEADER, has_index=False), TOTAL)
    assert data.count(b"SEND") == 1
    assert data.index(b"SEND") == PLACES[len(SENT) - (ahead or 0)]


def test_an_index_lists_keyframes_a_second_apart() -> None:
    """A frame is 20 ms, so fifty of them and more."""
    entries = IndexedReader(io.BytesIO(FILE)).entries
    assert entries[0] == Entry(0, 48)
    assert len(entries) > 3
    for one, other in pairwise(entries):
        assert other.frame - one.frame >= 50
    for entry in entries:
        assert SENT[entry.frame // 2].is_keyframe
        assert entry.offset == PLACES[entry.frame // 2]


def test_a_long_index_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no more entries than a reader takes, over the whole of the file."""
    monkeypatch.setattr(snc1_writer, "MAX_ENTRIES", 8)
    header = replace(LIVE, has_index=True)
    reader = IndexedReader(io.BytesIO(file_of(packets(1000, header), header)))
    assert reader.was_indexed
    assert [entry.frame for entry in reader.entries] == list(range(0, 2000, 400))


def check_starts(reader: IndexedReader) -> None:
    """Check that packets from any sample on are the right ones, and begin early enough but not far earlier."""
    keyframes = [number for number, each in enumerate(SENT) if each.is_keyframe]
    for sample in (*range(0, TOTAL, 7001), TOTAL - 1):
        start = reader.start(sample, PREROLL)
        assert start.entry.frame * 320 + start.discard_samples == sample + HEADER.preskip
        number = start.entry.frame // 2
        assert list(reader.packets(start)) == SENT[number:]
        assert number in keyframes or number == 0
        assert start.discard_samples >= PREROLL * 320 or number == 0
        if not reader.was_indexed:
            latest = (sample + HEADER.preskip) // 320 - PREROLL
            assert number == max((each for each in keyframes if each * 2 <= latest), default=0)


def test_any_sample_can_be_sought() -> None:
    """The decoder starts at a keyframe, its receptive field before the sample, and drops what comes first."""
    reader = IndexedReader(io.BytesIO(FILE))
    assert (reader.was_indexed, reader.total_samples) == (True, TOTAL)
    check_starts(reader)


@pytest.mark.parametrize(
    "data",
    [
        FILE[: PLACES[-1]],
        FILE[:-1],
        FILE[:-13] + b"\0" + FILE[-12:],
        FILE[:-12] + struct.pack("<Q", PLACES[-1] + 1) + FILE[-4:],
        FILE[:-12] + struct.pack("<Q", 2**63) + FILE[-4:],
        FILE[: PLACES[-1]] + chunks.encode_index([Entry(0, 48), Entry(100, 10**9)], PLACES[-1]),
        FILE[: PLACES[-1]] + chunks.encode_index([Entry(100, 48), Entry(0, 99)], PLACES[-1]),
        FILE[: PLACES[-1]] + chunks.encode_index([Entry(0, 48), Entry(1, 99)], PLACES[-1]),
        to_pipe(TOTAL, 2),
    ],
    ids=["none", "cut", "damaged", "misplaced", "far away", "outside", "backwards", "between packets", "live"],
)
def test_a_file_without_a_good_index_is_searched(data: bytes) -> None:
    """All keyframes are found by looking, and how long the stream is."""
    reader = IndexedReader(io.BytesIO(data))
    assert (reader.was_indexed, reader.total_samples) == (False, TOTAL)
    keyframes = [number for number, each in enumerate(SENT) if each.is_keyframe]
    assert [entry.frame for entry in reader.entries] == [2 * number for number in keyframes]
    check_starts(reader)


def test_an_index_alone_does_not_say_how_long_a_stream_is() -> None:
    """A pipe's header cannot; the end among the packets is looked for."""
    reader = IndexedReader(io.BytesIO(to_pipe(TOTAL, 2, has_index=True)))
    assert (reader.was_indexed, reader.total_samples) == (True, TOTAL)


def test_losses_are_found_again_after_seeking() -> None:
    """Numbers go on at the place that the index tells."""
    cut = FILE[: PLACES[150]] + FILE[PLACES[153] :]
    reader = IndexedReader(io.BytesIO(cut))
    start = reader.start(100 * 640, PREROLL)
    number = start.entry.frame // 2
    assert list(reader.packets(start)) == [*SENT[number:150], Lost(3), *SENT[153:]]


def test_the_file_may_be_used_while_packets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two readers of one file do not disturb each other."""
    monkeypatch.setattr(snc1_index, "_BLOCK_BYTES", 100)
    reader = IndexedReader(io.BytesIO(FILE))
    pairs = zip(reader.packets(), reader.packets(reader.start(0, 0)), strict=True)
    assert [one for one, other in pairs if one == other] == SENT


@pytest.mark.parametrize("sample", [-1, TOTAL])
def test_what_is_not_in_the_file_cannot_be_sought(sample: int) -> None:
    """The message says how long it is."""
    with pytest.raises(InvalidRequest, match=f"^expected a sample below {TOTAL} to seek, got {sample}$"):
        IndexedReader(io.BytesIO(FILE)).start(sample, 0)


def test_a_file_needs_its_header() -> None:
    """Without it nothing can be read."""
    with pytest.raises(InvalidRequest, match=r"^snc1 file is truncated: expected its header$"):
        IndexedReader(io.BytesIO(FILE[:40]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 700), st.integers(0, 255)), max_size=4), st.integers(0, TOTAL - 1))
def test_a_damaged_index_leads_to_packets_that_were_sent(changes: list[tuple[int, int]], sample: int) -> None:
    """Or to none."""
    data = bytearray(FILE)
    for place, value in changes:
        data[-place] = value
    reader = IndexedReader(io.BytesIO(bytes(data)))
    items = list(reader.packets(reader.start(sample, PREROLL)))
    assert all(item in SENT for item in items if isinstance(item, Packet))


def test_the_end_is_limited() -> None:
    """To what a header can say."""
    with pytest.raises(InvalidRequest, match=r"^expected an snc1 stream of at most 281474976710656 samples, got -1$"):
        chunks.encode_end(-1)


def test_a_stream_is_described(tmp_path: Path) -> None:
    """In numbers that are counted, from bytes and from a file."""
    silent = [each for each in SENT if each.is_silence]
    file = tmp_path / "stream.snc1"
    file.write_bytes(FILE)
    found = describe(FILE)
    assert found == describe(file) == describe(str(file))
    assert found.header.total_samples == found.total_samples == TOTAL
    assert (found.n_packets, found.n_lost, found.damaged_bytes, found.missing) == (250, 0, 0, None)
    assert (found.n_bytes, found.packet_bytes) == (len(FILE), PLACES[-1] - 48)
    assert found.payload_bytes == sum(len(each.payload) for each in SENT)
    assert found.n_silent == len(silent)
    assert found.n_keyframes == sum(each.is_keyframe for each in SENT)
    assert found.n_redundant == sum(each.has_fec for each in SENT)
    assert sum(found.books.values()) == 250 - len(silent)
    assert found.books[12] == sum(each.n_books == 12 for each in SENT)
    assert found.duration_s == TOTAL / 16000
    assert found.bits_per_second == pytest.approx(8 * (PLACES[-1] - 48) / 10.0)
    assert found.payload_bits_per_second == pytest.approx(8 * found.payload_bytes / 10.0)


def test_losses_are_described() -> None:
    """A stream that is cut and damaged says so; its rates are those of what came."""
    found = describe(FILE[: PLACES[10]] + FILE[PLACES[30] : PLACES[60] - 1])
    assert (found.n_packets, found.n_lost) == (59, 20)
    assert found.missing == f"the rest of a packet of which {PLACES[60] - PLACES[59] - 1} bytes came"
    assert found.duration_s == most_samples(59, HEADER) / 16000
    n_bytes = PLACES[10] - 48 + PLACES[59] - PLACES[30]
    assert found.bits_per_second == pytest.approx(8 * n_bytes / (39 * 0.04))


def test_an_empty_stream_is_described() -> None:
    """It has no rate."""
    found = describe(encode_header(HEADER))
    assert (found.duration_s, found.bits_per_second, found.payload_bits_per_second) == (0.0, 0.0, 0.0)
    with pytest.raises(InvalidRequest, match=r"^snc1 stream is truncated: expected its header$"):
        describe(stream([])[:47])
