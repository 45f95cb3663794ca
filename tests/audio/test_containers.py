"""Uploads of webm and m4a."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.containers import ContainerReader, sniff
from streamer.audio.extra import load_av
from streamer.audio.files import UploadLimits, open_upload
from streamer.errors import InvalidRequest, MessageTooLarge, StreamerError, StreamTimeout
from tests.audio.compressed import container, decoded, flac, opus, speech

RATE = 48000
N = 96_000
SPEECH = speech(N, RATE)
TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(N) / RATE)).astype(np.float32)
WEBM = container("webm", "libopus", SPEECH, RATE)
LIVE_WEBM = container("webm", "libopus", SPEECH, RATE, live="1")
M4A = container("mp4", "aac", TONE, RATE)


def read(data: bytes, **limits: float) -> tuple[np.ndarray, int]:
    with open_upload(data, limits=UploadLimits(**limits)) as file:
        return np.concatenate(list(file.blocks())), file.sample_rate


@pytest.mark.parametrize(
    ("form", "codec", "tolerance"),
    [("webm", "libopus", 0.03), ("mp4", "aac", 0.03), ("mp4", "libmp3lame", 0.03), ("matroska", "flac", 1e-4)],
)
def test_reads_every_codec(form: str, codec: str, tolerance: float) -> None:
    """What was recorded comes out, at its time and as long as it was, but for padding at the end."""
    samples, rate = read(container(form, codec, TONE, RATE))
    assert rate == RATE
    assert N <= len(samples) <= N + 2048
    # The median: ffmpeg's AAC encoder has its bad moments.
    assert np.median(np.abs(samples[:N] - TONE)) < tolerance


@pytest.mark.parametrize("data", [WEBM, LIVE_WEBM], ids=["whole", "live"])
def test_opus_is_exact_in_every_container(data: bytes) -> None:
    """A browser's webm gives the samples of the same packets in Ogg, with or without a length in its header."""
    reference = decoded(opus(SPEECH))
    samples, _ = read(data)
    assert len(samples) == N
    # The same coder at another bit rate, so not the same samples, but in the same place.
    assert np.corrcoef(samples, reference)[0, 1] > 0.95


def test_channels_come_one_by_one() -> None:
    """Blocks of all channels hold each as it was; `blocks` averages them."""
    both = np.stack([SPEECH, TONE])
    data = container("matroska", "flac", both, RATE)
    with open_upload(data) as file:
        assert file.channels == 2
        blocks = list(file.channel_blocks())
    assert all(block.shape[0] == 2 and block.dtype == np.float32 for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), both, atol=1e-4)
    np.testing.assert_allclose(read(data)[0], both.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("rate", [16000, 96000])
def test_channels_of_wav(rate: int) -> None:
    """libsndfile's files give their channels, too, also when their rate is brought down."""
    both = np.stack([speech(rate, rate, 1), speech(rate, rate, 2)])
    with open_upload(flac(both.T, rate)) as file:
        found = np.concatenate(list(file.channel_blocks()), axis=1)
    assert found.shape == (2, min(rate, 48000))
    if rate == 16000:
        np.testing.assert_allclose(found, both, atol=1e-4)


def test_files_are_read_as_they_are_asked_for() -> None:
    """Decoding goes block by block: the first comes while most of the file has not been read."""
    data = container("matroska", "flac", np.tile(SPEECH, 20), RATE)
    source = io.BytesIO(data)
    with open_upload(source) as file:
        next(file.blocks())
        assert source.tell() < len(data) / 4
    assert source.closed


@pytest.mark.parametrize("kind", ["webm", "mp4"])
def test_the_first_bytes_decide(kind: str) -> None:
    """Names do not matter."""
    data = {"webm": WEBM, "mp4": M4A}[kind]
    assert sniff(data[:16]) == kind
    with open_upload(data, "song.wav") as file:
        assert sum(len(block) for block in file.blocks()) >= N


@pytest.mark.parametrize("data", [b"", b"RIFF....WAVE", b"OggS", b"fLaC"])
def test_other_files_are_left_to_libsndfile(data: bytes) -> None:
    """Only two containers are known here."""
    assert sniff(data) is None


def test_too_long_a_file_is_refused_while_it_decodes() -> None:
    """No header is believed: samples are counted."""
    with pytest.raises(MessageTooLarge, match="^upload is longer than the limit of 1 s$"):
        read(LIVE_WEBM, max_duration_s=1.0)


def test_too_slow_a_file_is_refused() -> None:
    """Only the time spent decoding counts, not what whoever reads takes."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.25
        return now[0]

    with open_upload(WEBM, limits=UploadLimits(max_decode_s=1.0), clock=clock) as file:
        blocks = file.blocks()
        for _ in range(3):
            now[0] += 1000.0
            next(blocks)
        with pytest.raises(StreamTimeout, match="^decoding upload took longer than the limit of 1 s$"):
            next(blocks)


def test_too_many_channels_are_refused() -> None:
    """As many as the limits allow."""
    with pytest.raises(InvalidRequest, match="^upload: expected at most 1 channels, got 2$"):
        read(container("webm", "libopus", np.stack([SPEECH, TONE]), RATE), max_channels=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (WEBM[: len(WEBM) // 2], r"upload is truncated: expected \d+ bytes of audio, got \d+"),
        (M4A[: len(M4A) // 2], "upload is damaged or truncated: .*"),
        (container("mp4", "alac", SPEECH, RATE), "upload: expected audio in opus, vorbis, aac, mp3, flac, got alac"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "upload (is damaged or truncated: .*|holds no audio)"),
        (b"\0\0\0\x18ftypM4A " + bytes(100), "upload is damaged or truncated: .*"),
    ],
    ids=["half_webm", "half_m4a", "alac", "only_mark_of_webm", "only_mark_of_m4a"],
)
def test_bad_files_are_refused_by_name(data: bytes, message: str) -> None:
    """Half a file is not passed off as a whole one."""
    with pytest.raises(InvalidRequest, match=f"^{message}$"):
        read(data)


def test_an_m4a_that_ends_in_its_audio_is_refused() -> None:
    """Where the index comes first, the missing packets are counted."""
    data = index_first(M4A)
    assert len(read(data)[0]) >= N
    with pytest.raises(InvalidRequest, match="^upload is (damaged or )?truncated: "):
        read(data[:-5000])


def index_first(data: bytes) -> bytes:
    """Move the box `moov` before `mdat`, as for streaming, and adjust the offsets of the chunks."""
    boxes, place = {}, 0
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        boxes[kind] = data[place : place + size]
        place += size
    moov = bytearray(boxes[b"moov"])
    table = moov.index(b"stco")
    for n in range(struct.unpack_from(">I", moov, table + 8)[0]):
        at = table + 12 + 4 * n
        struct.pack_into(">I", moov, at, struct.unpack_from(">I", moov, at)[0] + len(moov))
    rest = [box for kind, box in boxes.items() if kind != b"moov"]
    first = boxes[b"ftyp"]
    return first + bytes(moov) + b"".join(box for box in rest if box is not first)


def test_no_other_file_is_ever_opened() -> None:
    """An index that refers to another file is refused; nothing is read from it."""
    data = M4A.replace(b"url \0\0\0\x01", b"url \0\0\0\0")
    assert data != M4A
    try:
        samples, _ = read(data)
    except InvalidRequest:
        return
    # ffmpeg does not follow references unless it is told to.
    np.testing.assert_array_equal(samples, read(M4A)[0])


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks the package learns how to get it, and the file is closed."""
    load_av.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    source = io.BytesIO(WEBM)
    try:
        with pytest.raises(InvalidRequest, match=r"needs the package av, .*: pip install 'streamer-speech\[av\]'$"):
            ContainerReader(source, "a.webm", "webm")
    finally:
        load_av.cache_clear()
    assert source.closed


SEEDS = [container("webm", "libopus", SPEECH[:9000], RATE), container("mp4", "aac", SPEECH[:9000], RATE)]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=6),
    length=st.one_of(st.none(), st.integers(16, 4000)),
)
def test_damaged_files_raise_nothing_else(seed: bytes, changes: list[tuple[int, int]], length: int | None) -> None:
    """Whatever the bytes, a file decodes within its limit or is refused."""
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    try:
        samples, rate = read(bytes(data[:length]), max_duration_s=10.0)
    except StreamerError:
        return
    assert len(samples) <= 10.0 * rate
    assert np.abs(samples).max() <= 1.0
