"""SNC1 streams read in any cuts, with losses, damage and cut ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio import snc1_chunks as chunks
from streamer.audio.crc import crc16
from streamer.audio.snc1 import TABLES, Header, Lost, Packet, encode_header, encode_packet
from streamer.audio.snc1_reader import MAX_DAMAGE_BYTES, PacketReader
from streamer.audio.snc1_writer import StreamWriter
from streamer.errors import InvalidRequest
from tests.audio.snc1_streams import (
    LIVE,
    Item,
    file_of,
    headers,
    most_samples,
    packet,
    packets,
    pieces,
    read,
    stream,
    written,
)

SENT = packets(12)
KNOWN = replace(LIVE, total_samples=most_samples(len(SENT), LIVE))
RANGE_CODED = replace(LIVE, entropy_mode=TABLES)
# A header, the packets, their number of samples and where to begin: what a small file has.
SMALL = file_of(SENT, replace(LIVE, has_index=True))


def numbered(items: list[Item]) -> list[tuple[int, Packet]]:
    """Return the packets that came, each with its place among those that were sent."""
    found, place = [], 0
    for item in items:
        if isinstance(item, Packet):
            found.append((place, item))
        place += item.n_packets if isinstance(item, Lost) else 1
    return found


def n_of(items: list[Item]) -> int:
    return sum(item.n_packets if isinstance(item, Lost) else 1 for item in items)


@settings(max_examples=100, deadline=None)
@given(headers(), st.integers(0, 300), st.lists(st.integers(1, 400), min_size=1, max_size=5), st.integers(0, 99))
def test_packets_come_back(header: Header, n_packets: int, sizes: list[int], seed: int) -> None:
    """Whatever was written is read, however it is cut; numbers go round after 256."""
    sent = packets(n_packets, header, seed)
    items, reader = read(stream(sent, header), sizes)
    assert items == sent
    assert (reader.header, reader.n_packets, reader.missing, reader.damaged_bytes) == (header, n_packets, None, 0)


def test_a_packet_is_yielded_with_its_last_byte() -> None:
    """It need not wait for the next one, and nobody has to ask whether it is there."""
    reader = PacketReader()
    assert not list(reader.feed(encode_header(LIVE)))
    for each in SENT:
        data = encode_packet(each)
        assert not list(reader.feed(data[:-1]))
        assert list(reader.feed(data[-1:])) == [each]


def test_every_cut_gives_the_same() -> None:
    """Two messages, split anywhere."""
    for place in range(len(SMALL) + 1):
        items, reader = read(SMALL, [place, len(SMALL)] if place else [])
        assert items == SENT
        assert reader.missing is None


def test_missing_packets_are_losses() -> None:
    """A gap in the numbers is yielded before the packet that shows it."""
    header, body = encode_header(LIVE), [encode_packet(each) for each in SENT]
    items, reader = read(header + b"".join(body[2:5] + body[9:]))
    assert items == [Lost(2), *SENT[2:5], Lost(4), *SENT[9:]]
    assert (reader.n_packets, reader.damaged_bytes) == (12, 0)


def test_a_relay_passes_losses_on() -> None:
    """What a relay did not get is a gap in what it sends."""
    writer = StreamWriter(LIVE)
    data = writer.begin() + b"".join(written(writer, SENT[:2]))
    writer.lose(254)
    items, _ = read(data + writer.silence() + writer.silence(is_keyframe=True))
    last = [Packet(0, 1, False, True, False, b""), Packet(1, 1, True, True, False, b"")]
    assert items == [*SENT[:2], Lost(254), *last]


def a_stream(sent: list[Packet], header: Header) -> bytes:
    """A stream whose header knows how long it is, and that has nothing behind its packets."""
    return stream(sent, replace(header, total_samples=most_samples(len(sent), header)))


@pytest.mark.parametrize("header", [LIVE, RANGE_CODED], ids=["raw", "range coded"])
@pytest.mark.parametrize("make", [lambda sent, header: file_of(sent, replace(header, has_index=True)), a_stream])
def test_every_flipped_bit_is_a_loss_or_refused(make: Callable[[list[Packet], Header], bytes], header: Header) -> None:
    """No wrong packet comes out, none that is right comes at a wrong place, and no more than one in twelve is lost."""
    sent = packets(12, header)
    data = make(sent, header)
    refused = 0
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            items, reader = read(bytes(flipped), [37])
        except InvalidRequest:
            refused += 1
            continue
        found = numbered(items)
        assert all(each == sent[number] for number, each in found), place
        assert len(found) >= len(sent) - 1, place
        if reader.missing is None:
            assert n_of(items) == len(sent), place
        else:
            # The length of the last packet points behind the end.
            assert (items, make) == (sent[:-1], a_stream)
    # A header is not guessed at.
    assert refused == 8 * 48


@pytest.mark.parametrize("header", [LIVE, KNOWN, RANGE_CODED], ids=["live", "file", "range coded"])
def test_every_prefix_is_read_as_far_as_it_goes(header: Header) -> None:
    """Whole packets are heard; what was cut off is named, or lost."""
    sent = packets(12, header)
    data = stream(sent, header)
    ends = [len(encode_header(header))]
    for each in sent:
        ends.append(ends[-1] + len(encode_packet(each)))
    for length in range(len(data)):
        items, reader = read(data[:length], [50])
        whole = sum(end <= length for end in ends) - 1
        assert items == sent[: max(whole, 0)]
        if whole < 0:
            assert reader.missing == "its header"
        elif length not in ends:
            assert reader.missing == f"the rest of a packet of which {length - ends[whole]} bytes came"
        elif header.total_samples is not None:
            assert reader.missing == f"{12 - whole} of 12 packets"
        else:
            assert reader.missing is None


def test_a_live_stream_says_when_it_ends() -> None:
    """The end may stand before the last packets, or behind them; then nothing is missing and all is counted."""
    writer = StreamWriter(LIVE)
    begin, body = writer.begin(), written(writer, SENT)
    total = most_samples(12, LIVE) - 100
    for place in (0, 5, 11, 12):
        data = begin + b"".join(body[:place]) + writer.end(total) + b"".join(body[place:])
        for size in (1, 10, 1000):
            items, reader = read(data, [size])
            assert items == SENT
            assert (reader.total_samples, reader.missing) == (total, None)


def test_what_is_lost_before_the_end_is_counted() -> None:
    """An end shows losses that no later packet shows, up to as many as it was sent ahead of."""
    writer = StreamWriter(LIVE)
    begin, body = writer.begin(), written(writer, SENT)
    end = writer.end(most_samples(12, LIVE))
    items, reader = read(begin + b"".join(body[:9]) + end)
    assert (items, reader.missing) == ([*SENT[:9], Lost(3)], None)
    items, reader = read(begin + end + b"".join(body[:2]) + b"garbage")
    assert (items, reader.missing) == ([*SENT[:2], Lost(10)], None)
    items, reader = read(begin + body[0] + writer.end(most_samples(200, LIVE)))
    assert (items, reader.missing) == (SENT[:1], "199 of 200 packets")


def test_an_empty_stream_is_whole() -> None:
    """No samples need no packets."""
    items, reader = read(encode_header(replace(LIVE, total_samples=0)))
    assert (items, reader.missing, reader.total_samples) == ([], None, 0)


def test_a_damaged_end_loses_a_packet_at_most() -> None:
    """Without it a live stream is as long as its packets; the damage may have been one."""
    writer = StreamWriter(LIVE)
    data = stream(SENT) + writer.end(9).replace(b"\t", b"\n")
    items, reader = read(data)
    assert (items, reader.damaged_bytes, reader.missing) == ([*SENT, Lost(1)], 16, None)


def test_damage_hides_no_more_than_it_covers() -> None:
    """Bytes that are overwritten, cut out or put in cost the packets they touch; all others keep their place."""
    body = [encode_packet(each) for each in packets(200, LIVE, seed=3)]
    sent = packets(200, LIVE, seed=3)
    for seed in range(200):
        dice = random.Random(seed)
        start = dice.randrange(10, 150)
        kind, size = seed % 3, dice.randrange(1, 60)
        head, tail = b"".join(body[:start]), b"".join(body[start:])
        cut = dice.randrange(len(body[start]))
        noise = dice.randbytes(size)
        damaged = (noise + tail[cut + size :], tail[cut + size :], noise + tail[cut:])[kind]
        items, _ = read(encode_header(LIVE) + head + tail[:cut] + damaged, [dice.choice((1, 30, 5000))])
        found = numbered(items)
        touched = 2 + size // 5
        assert len(found) >= 200 - touched
        assert all(each == sent[number] for number, each in found)


def test_every_other_packet_may_be_damaged() -> None:
    """A packet between two that are damaged is heard."""
    data = bytearray(encode_header(LIVE))
    for number, each in enumerate(SENT):
        data += encode_packet(each)
        data[-1] ^= number % 2
    items, _ = read(bytes(data), [5])
    assert items == [item for number in range(0, 12, 2) for item in (SENT[number], Lost(1))]


def test_noise_is_no_packet() -> None:
    """In noise a checksum of 16 bits is right by accident; it takes a neighbour to be believed."""
    noise = random.Random(1).randbytes(MAX_DAMAGE_BYTES - 100)
    for header in (LIVE, RANGE_CODED):
        sent = packets(12, header)
        data = stream(sent, header)
        assert read(data + noise)[0][:12] == sent
        items, reader = read(
            encode_header(header) + encode_packet(sent[0]) + noise + b"".join(map(encode_packet, sent[1:]))
        )
        assert [item for item in items if isinstance(item, Packet)][-11:] == sent[1:]
        assert reader.damaged_bytes >= len(noise)
        assert len(items) <= 15


def test_endless_damage_is_refused() -> None:
    """Not read on and on for a packet that does not come."""
    with pytest.raises(InvalidRequest, match=r"^snc1 stream is damaged: \d+ of \d+ bytes are no packets$"):
        read(stream(SENT) + bytes(range(256)) * 300, [4096])


def test_damage_is_made_up_for() -> None:
    """A long stream may lose every other packet."""
    header = Header(16000, 320, 32, 16, frames_per_packet=16)
    sent = packets(300, header)
    data = bytearray(encode_header(header))
    for number, each in enumerate(sent):
        data += encode_packet(each)
        data[-1] ^= number % 2
    items, reader = read(bytes(data), [5000])
    assert [item for item in items if isinstance(item, Packet)] == sent[::2]
    assert reader.damaged_bytes > MAX_DAMAGE_BYTES


def test_the_last_packet_is_trusted_if_it_ends_the_stream() -> None:
    """After damage that hides more than it can have held, something whole has to follow, or the end."""
    data = encode_header(LIVE) + encode_packet(SENT[0]) + bytes(50)
    last = Packet(200, 1, True, True, False, b"")
    assert read(data + encode_packet(last))[0] == [SENT[0], Lost(199), last]
    assert read(data + encode_packet(last) + b"\0")[0][:1] == SENT[:1]
    assert last not in read(data + encode_packet(last) + b"\0")[0]


def test_what_is_lost_before_an_index_is_counted() -> None:
    """The file goes on behind it, so it is not truncated."""
    header = replace(LIVE, has_index=True)
    sent = packets(60, header)
    data = file_of(sent, header)
    kept, end = stream(sent[:30], header), len(stream(sent, header))
    items, reader = read(data[:48] + kept[48:] + data[end:])
    assert (items, reader.missing) == ([*sent[:30], Lost(30)], None)


def test_a_reader_keeps_two_packets_at_most() -> None:
    """Whatever comes."""
    reader = PacketReader()
    most = 2 * (RANGE_CODED.max_payload_bytes + 6)
    dice = random.Random(5)
    sent = packets(500, RANGE_CODED)
    data = b"".join(encode_packet(each) if dice.random() < 0.8 else dice.randbytes(40) for each in sent)
    for piece in pieces(encode_header(RANGE_CODED) + data, [97]):
        list(reader.feed(piece))
        assert len(reader._buffer) <= most


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"OggS", "expected an snc1 stream, got one that does not begin with SNC1"),
        (
            encode_header(replace(LIVE, dtx=False)) + encode_packet(Packet(0, 1, True, True, False, b"")),
            "snc1 packet at byte 48: expected silence as an empty packet of one book, in a stream with dtx",
        ),
        (
            encode_header(LIVE) + encode_packet(Packet(0, 12, True, False, False, bytes(29))),
            "snc1 packet at byte 48: expected a payload of 30 to 30 bytes, got 29",
        ),
        (
            stream(SENT, replace(KNOWN, total_samples=most_samples(11, LIVE))),
            "expected at most 11 snc1 packets for 6560 samples, got more",
        ),
        (
            stream(SENT) + chunks.encode_end(most_samples(11, LIVE)),
            "expected at most 11 snc1 packets for 6560 samples, got more",
        ),
        (
            stream(SENT, KNOWN) + chunks.encode_end(7),
            "expected an snc1 stream of 7200 samples as its header says, got 7",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(data: bytes, message: str) -> None:
    """Checksums are right here: it was written like that."""
    with pytest.raises(InvalidRequest, match=f"^{message}$"):
        read(data)


def test_packets_after_the_last_one_are_refused() -> None:
    """A header of few samples cannot be followed by more than they need: no bomb hides behind it."""
    writer = StreamWriter(KNOWN)
    data = writer.begin() + b"".join(written(writer, SENT)) + writer.silence()
    items = PacketReader().feed(data)
    assert [next(items) for _ in range(12)] == SENT
    with pytest.raises(InvalidRequest):
        next(items)


def test_a_stream_is_read_from_its_middle() -> None:
    """Who knows where a packet begins needs nothing before it."""
    body = [encode_packet(each) for each in SENT]
    place = 48 + sum(map(len, body[:4]))
    reader = PacketReader.from_packet(LIVE, 4, place)
    assert list(reader.feed(b"".join(body[4:]))) == SENT[4:]
    assert (reader.n_packets, reader.place) == (12, 48 + sum(map(len, body[:11])))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, len(SMALL))),
    st.lists(st.integers(1, 200), min_size=1, max_size=5),
)
def test_damage_gives_packets_that_were_sent(
    changes: list[tuple[int, int]], length: int | None, sizes: list[int]
) -> None:
    """Checksums see every change: what passes was sent, and at this place."""
    data = bytearray(SMALL)
    for place, value in changes:
        data[place] = value
    try:
        items, _ = read(bytes(data[:length]), sizes)
    except InvalidRequest:
        return
    assert all(each == SENT[number] for number, each in numbered(items))
    assert n_of(items) <= len(SENT)


def test_a_packet_inside_a_payload_is_not_heard() -> None:
    """Where packets begin is known, whatever is in them and wherever they are cut."""
    inner = encode_packet(Packet(0, 1, True, True, False, b""))
    outer = Packet(0, 4, True, False, False, inner + bytes(5))
    data = encode_header(LIVE) + encode_packet(outer)
    for size in range(1, len(data)):
        assert read(data, [size])[0] == [outer]


def test_a_length_is_written_in_one_way() -> None:
    """In as few bytes as it takes; all else is damage."""
    body = b"\x80\x00\x83\x00abc"
    items, reader = read(encode_header(LIVE) + body + crc16(body).to_bytes(2, "little"))
    assert (items, reader.damaged_bytes) == ([Lost(1)], 9)


def test_a_packet_of_any_length_is_read() -> None:
    """Lengths take one byte below 128, and two from there on."""
    header = Header(16000, 320, 32, 16, frames_per_packet=16)
    dice = random.Random(2)
    sent = [packet(dice, header, seq) for seq in range(60)]
    assert read(stream(sent, header), [1])[0] == sent
    assert {len(each.payload) >= 128 for each in sent} == {False, True}
