"""Ogg Opus that is decoded while it arrives."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.ogg import MAX_PACKET_BYTES, PageReader
from streamer.audio.opus import OpusDecoder
from streamer.errors import InvalidRequest
from tests.audio.compressed import (
    OPUS_HEAD,
    OPUS_SILENCE,
    OPUS_TAGS,
    PACKET_SAMPLES,
    decoded,
    opus,
    opus_pages,
    page,
    speech,
)

N = 100_000
WHOLE = opus(speech(N, 48000))
REFERENCE = decoded(WHOLE)
SHORT = opus(speech(6000, 48000))
PRE_SKIP = 312
# libsndfile and PyAV each bring a libopus of their own, which may round differently.
CLOSE = 2e-6


def hear(data: bytes, sizes: Iterable[int] = (1000,), channels: int = 1) -> tuple[np.ndarray, str | None]:
    """Feed pieces of `sizes` bytes, the last size over and over; return all samples and what is missing."""
    decoder = OpusDecoder(channels)
    blocks, place, sizes = [], 0, iter(sizes)
    size = 1
    while place < len(data):
        size = next(sizes, size)
        blocks += decoder.feed(data[place : place + size])
        place += size
    blocks += decoder.settle()
    return np.concatenate([np.zeros(0, np.float32), *blocks]), decoder.missing


def test_samples_are_those_of_the_file() -> None:
    """Pre-skip and end are cut where libsndfile cuts them, and every sample is the same."""
    samples, missing = hear(WHOLE)
    assert (len(samples), missing) == (N, None)
    assert np.abs(samples - REFERENCE).max() < CLOSE


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=20))
def test_any_cut_gives_the_same_samples(sizes: list[int]) -> None:
    """Samples do not depend on the pieces, to the last bit."""
    np.testing.assert_array_equal(hear(WHOLE, sizes)[0], hear(WHOLE, [len(WHOLE)])[0])


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_speech_modes_decode_at_48_khz(rate: int) -> None:
    """Whatever was encoded, samples are at 48 kHz, as many as lasted."""
    samples, _ = hear(opus(speech(rate, rate), rate))
    assert len(samples) == 48000


def test_channels_are_averaged() -> None:
    """Two channels give the samples of the file reader."""
    data = opus(np.stack([speech(N, 48000, 1), speech(N, 48000, 2)], axis=1))
    samples, _ = hear(data, channels=2)
    assert np.abs(samples - decoded(data)).max() < CLOSE


def test_samples_come_before_the_end() -> None:
    """Half the bytes give samples."""
    decoder = OpusDecoder(1)
    early = sum(len(block) for block in decoder.feed(WHOLE[: len(WHOLE) * 2 // 3]))
    assert N / 4 < early < N


def test_every_prefix_is_whole_pages_or_says_what_is_missing() -> None:
    """However a stream ends, its whole pages are heard and the rest is named."""
    whole, _ = hear(SHORT)
    ends = [place for place in range(1, len(SHORT)) if SHORT[place : place + 4] == b"OggS"]
    for length in range(1, len(SHORT)):
        samples, missing = hear(SHORT[:length], [700])
        np.testing.assert_array_equal(samples, whole[: len(samples)])
        if length not in ends:
            assert missing is not None
            assert missing.startswith("the rest of a page or packet of which ")
        else:
            assert missing == ("its headers" if length == ends[0] else None)


def test_a_live_stream_needs_no_last_page() -> None:
    """What was recorded live may stop after any page; all of it is heard."""
    samples, missing = hear(b"".join(opus_pages([5, 3])))
    assert (len(samples), missing) == (8 * PACKET_SAMPLES - PRE_SKIP, None)


def test_a_stream_may_begin_later_than_zero() -> None:
    """Granule positions of a stream that was joined count from where it began; its end is cut relative to that."""
    pages = opus_pages([2], origin=10**9)
    last = page([OPUS_SILENCE], 3, 10**9 + 2 * PACKET_SAMPLES + 1000, flags=4)
    samples, _ = hear(b"".join(pages) + last)
    assert len(samples) == 2 * PACKET_SAMPLES + 1000 - PRE_SKIP


def test_a_stream_of_one_last_page_is_trimmed() -> None:
    """A page that is first and last counts from zero."""
    samples, _ = hear(b"".join(opus_pages([])) + page([OPUS_SILENCE], 2, 1000, flags=4))
    assert len(samples) == 1000 - PRE_SKIP


def broken(sequence: int = 2, serial: int = 7, flags: int = 0, packet: bytes = OPUS_SILENCE) -> bytes:
    """Headers and a page that is wrong in one way."""
    return b"".join(opus_pages([])) + page([packet], sequence, PACKET_SAMPLES, flags, serial)


def head(**changes: int) -> bytes:
    values = {"version": 1, "channels": 1, "skip": 312, "rate": 48000, "gain": 0, "family": 0, **changes}
    return page([struct.pack("<8sBBHIHB", b"OpusHead", *values.values())], 0, 0, flags=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"fLaC", "expected an ogg page at byte 0, got something else"),
        (b"OggS\1", "expected an ogg page at byte 0, got something else"),
        (WHOLE[:60] + b"\x55" + WHOLE[61:], r"ogg page at byte \d+ is damaged: its checksum differs"),
        (broken(sequence=3), "expected page 2 of stream 0x7 at byte 95, got page 3 of stream 0x7"),
        (broken(serial=8), "expected page 2 of stream 0x7 at byte 95, got page 2 of stream 0x8"),
        (broken(flags=1), "ogg page at byte 95 does not continue the one before it"),
        (broken(packet=b""), "opus packet 1 is damaged"),
        (broken(packet=b"\xff"), "opus packet 1 is damaged"),
        (WHOLE + broken()[:200], "expected page"),
        (page([b"\x01vorbis"], 0, 0, flags=2), "got one that does not begin with OpusHead"),
        (page([OPUS_HEAD], 0, 0), "got one that does not begin with OpusHead"),
        (head(version=16), "expected an OpusHead of version 1, got 16"),
        (head(channels=2), r"expected 1 channels as declared, got 2 \(mapping family 0\) in OpusHead"),
        (head(family=1), r"expected 1 channels as declared, got 1 \(mapping family 1\) in OpusHead"),
        (page([OPUS_HEAD], 0, 0, flags=2) + page([OPUS_SILENCE], 1, 0), "expected OpusTags after OpusHead"),
        (b"".join(opus_pages([2], origin=-10)), "expected a granule position of at least 11520, got 11510"),
        (broken(flags=4) + page([OPUS_SILENCE], 3, 9), "expected nothing after the last ogg page, got another page"),
    ],
)
def test_bad_streams_are_refused_by_name(data: bytes, message: str) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(InvalidRequest, match=message):
        hear(data)


def test_a_packet_without_end_is_refused() -> None:
    """Packets go on over pages, but not for ever."""
    reader = PageReader()
    endless = struct.pack("<4sBBqIII", b"OggS", 0, 0, -1, 0, 0, 0) + b"\xff" + b"\xff" * 255 + bytes(255 * 255)
    n_pages = MAX_PACKET_BYTES // (255 * 255)
    for sequence in range(n_pages):
        assert [part.packets for part in reader.feed(reseal(endless, sequence, min(sequence, 1)))] == [()]
    with pytest.raises(InvalidRequest, match=f"^expected ogg packets of at most {MAX_PACKET_BYTES} bytes"):
        list(reader.feed(reseal(endless, n_pages, 1)))


def reseal(blank: bytes, sequence: int, flags: int) -> bytes:
    """Number a page and set its checksum."""
    from streamer.audio.ogg import ogg_crc

    blank = blank[:5] + bytes([flags]) + blank[6:18] + struct.pack("<II", sequence, 0) + blank[26:]
    return blank[:22] + struct.pack("<I", ogg_crc(blank)) + blank[26:]


def test_tags_may_span_pages() -> None:
    """A picture in the tags is longer than a page."""
    tags = OPUS_TAGS + bytes(254 * 255 + 100 - len(OPUS_TAGS))
    first = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, -1, 7, 1, 0, 254) + b"\xff" * 254 + tags[: 254 * 255]
    second = struct.pack("<4sBBqIIIB", b"OggS", 0, 1, 0, 7, 2, 0, 1) + b"\x64" + tags[254 * 255 :]
    data = page([OPUS_HEAD], 0, 0, flags=2) + reseal(first, 1, 0) + reseal(second, 2, 1)
    samples, missing = hear(data + page([OPUS_SILENCE], 3, PACKET_SAMPLES))
    assert (len(samples), missing) == (PACKET_SAMPLES - PRE_SKIP, None)


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SHORT) - 1), st.integers(0, 255)), max_size=6),
    length=st.one_of(st.none(), st.integers(0, len(SHORT))),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=5),
)
def test_damage_is_refused(changes: list[tuple[int, int]], length: int | None, sizes: list[int]) -> None:
    """Checksums see every change: bytes that pass give the samples of the original."""
    data = bytearray(SHORT)
    for place, value in changes:
        data[place] = value
    try:
        samples, _ = hear(bytes(data[:length]), sizes)
    except InvalidRequest:
        return
    np.testing.assert_array_equal(samples, hear(SHORT)[0][: len(samples)])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=10))
def test_any_packets_are_decoded_or_refused(packets: list[bytes]) -> None:
    """Behind right checksums, whatever a packet holds gives samples of at most 120 ms or is refused."""
    data = b"".join(opus_pages([])) + page(packets, 2, 10**6)
    try:
        samples, _ = hear(data)
    except InvalidRequest:
        return
    assert len(samples) <= len(packets) * PACKET_SAMPLES
    assert np.isfinite(samples).all()
