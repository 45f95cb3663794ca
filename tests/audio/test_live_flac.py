"""flac that is decoded while it arrives."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.flac import FlacDecoder
from streamer.errors import InvalidRequest
from tests.audio.compressed import decoded, flac, silent_flac, speech

RATE = 8000
N = 20000
WHOLE = flac(speech(N, RATE), RATE)
REFERENCE = decoded(WHOLE)
# A short file whose every prefix is tried.
SHORT = flac(speech(6000, RATE), RATE)
HEAD_BYTES = WHOLE.index(b"\xff\xf8")


def hear(data: bytes, sizes: Iterable[int], channels: int = 1) -> tuple[np.ndarray, str | None]:
    """Feed pieces of `sizes` bytes, the last size over and over; return all samples and what is missing."""
    decoder = FlacDecoder(RATE, channels)
    blocks, place, sizes = [], 0, iter(sizes)
    size = 1
    while place < len(data):
        size = next(sizes, size)
        blocks += decoder.feed(data[place : place + size])
        place += size
    blocks += decoder.settle()
    return np.concatenate([np.zeros(0, np.float32), *blocks]), decoder.missing


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=20))
def test_any_cut_gives_the_same_samples(sizes: list[int]) -> None:
    """Samples are those of the whole file, whatever the pieces."""
    samples, missing = hear(WHOLE, sizes)
    np.testing.assert_array_equal(samples, REFERENCE)
    assert missing is None


def test_byte_by_byte() -> None:
    """The smallest pieces do, too."""
    np.testing.assert_array_equal(hear(WHOLE, [1])[0], REFERENCE)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_channels_are_averaged_at_every_depth(subtype: str) -> None:
    """Two channels give the samples of the file reader, for every depth of libsndfile."""
    both = np.stack([speech(N, RATE, 1), speech(N, RATE, 2)], axis=1)
    data = flac(both, RATE, subtype)
    np.testing.assert_array_equal(hear(data, [1000], channels=2)[0], decoded(data))


def test_samples_come_before_the_end() -> None:
    """Half the bytes give about half the samples."""
    decoder = FlacDecoder(RATE, 1)
    early = sum(len(block) for block in decoder.feed(WHOLE[: len(WHOLE) // 2]))
    assert N / 4 < early < N * 3 / 4


def test_a_frame_that_ends_a_message_does_not_wait_for_the_next() -> None:
    """A live encoder that sends frame by frame is heard frame by frame."""
    second = WHOLE.index(b"\xff\xf8", HEAD_BYTES + 2)
    decoder = FlacDecoder(RATE, 1)
    assert list(decoder.feed(WHOLE[:HEAD_BYTES])) == []
    assert sum(len(block) for block in decoder.feed(WHOLE[HEAD_BYTES:second])) == 4096


def test_every_prefix_is_whole_frames_or_says_what_is_missing() -> None:
    """However a file ends, its whole frames are heard and the rest is named."""
    reference = decoded(SHORT)
    seen = set()
    for length in range(len(SHORT)):
        samples, missing = hear(SHORT[:length], [700])
        np.testing.assert_array_equal(samples, reference[: len(samples)])
        assert missing is not None
        seen.add((len(samples), missing if "bytes" not in missing else "a frame"))
    assert seen == {
        (0, "its headers"),
        (0, "a frame"),
        (0, "6000 of 6000 samples"),
        (4096, "a frame"),
        (4096, "1904 of 6000 samples"),
    }


def test_a_stream_of_unknown_length_is_whole_at_every_frame() -> None:
    """A live encoder cannot tell how much will come."""
    data = silent_flac(3, RATE, block=4096)
    samples, missing = hear(data, [5])
    assert (len(samples), np.abs(samples).max(), missing) == (3 * 4096, 0.0, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF", "expected a flac stream, got one that does not begin with fLaC"),
        (b"OggS\0\2", "expected a flac stream, got one that does not begin with fLaC"),
        (b"fLaC\x84\0\0\x01" + bytes(40), "expected one flac stream info of 34 bytes, at the begin"),
        (flac(speech(100), 16000), "expected 8000 Hz as declared, got 16000 Hz in the flac header"),
        (
            flac(np.zeros((100, 2)), RATE),
            "expected 1 channels as declared, got 2 in the flac header",
        ),
        (WHOLE[:HEAD_BYTES] + bytes(20), f"expected a flac frame at byte {HEAD_BYTES}, got something else"),
        (WHOLE[:1000] + b"\x55\xaa" + WHOLE[1002:], f"flac frame at byte {HEAD_BYTES} is damaged"),
    ],
)
def test_bad_streams_are_refused_by_name(data: bytes, message: str) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(InvalidRequest, match=message):
        hear(data, [100])


def test_a_missing_frame_is_noticed() -> None:
    """Frames are numbered: one cannot be left out."""
    second = WHOLE.index(b"\xff\xf8", HEAD_BYTES + 2)
    third = WHOLE.index(b"\xff\xf8", second + 2)
    with pytest.raises(InvalidRequest, match=r"flac frame at byte \d+ is damaged or the one after it is missing"):
        hear(WHOLE[:second] + WHOLE[third:] * 20, [1000])


def test_what_waits_for_the_end_of_a_frame_is_bounded() -> None:
    """Bytes in which no frame ends are refused before they pile up."""
    decoder = FlacDecoder(RATE, 1)
    list(decoder.feed(WHOLE[: HEAD_BYTES + 100]))
    # A block of 4096 samples of 16 bits, twice.
    with pytest.raises(InvalidRequest, match="is damaged or the one after it is missing"):
        feed_zeros(decoder, 100_000)
    assert len(decoder._pending) < 20_000


def feed_zeros(decoder: FlacDecoder, size: int) -> None:
    for _ in range(0, size, 1000):
        list(decoder.feed(bytes(1000)))


def test_metadata_is_skipped_and_not_kept() -> None:
    """A picture of megabytes costs no memory."""
    size = (1 << 24) - 1
    decoder = FlacDecoder(RATE, 1)
    list(decoder.feed(WHOLE[:4] + b"\0" + WHOLE[5:42] + b"\x86" + size.to_bytes(3)))
    tracemalloc.start()
    try:
        while size > 0:
            list(decoder.feed(bytes(min(size, 65536))))
            size -= 65536
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300_000
    assert sum(len(block) for block in decoder.feed(WHOLE[HEAD_BYTES:])) == N


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SHORT) - 1), st.integers(0, 255)), max_size=6),
    length=st.one_of(st.none(), st.integers(0, len(SHORT))),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=5),
)
def test_damage_is_refused_or_harmless(changes: list[tuple[int, int]], length: int | None, sizes: list[int]) -> None:
    """Changed bytes raise `InvalidRequest` and nothing else; what is heard before is right unless a header changed."""
    data = bytearray(SHORT)
    for place, value in changes:
        data[place] = value
    try:
        samples, _ = hear(bytes(data[:length]), sizes)
    except InvalidRequest:
        return
    if all(place > HEAD_BYTES for place, _ in changes):
        np.testing.assert_array_equal(samples, decoded(SHORT)[: len(samples)])
