"""Audio files and raw PCM pipes."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.files import UploadLimits, open_audio, open_upload, read_pcm
from streamer.errors import InvalidRequest, MessageTooLarge, StreamerError
from tests.audio.compressed import flac, speech

N = 40000


def tone(rate: int = 16000, n: int = N) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * 440 * np.arange(n) / rate)).astype(np.float32)


def read(path: Path) -> tuple[np.ndarray, int]:
    with open_audio(path) as file:
        return np.concatenate(list(file.blocks())), file.sample_rate


@pytest.mark.parametrize(("ending", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05), ("mp3", 0.05)])
def test_reads_every_format(tmp_path: Path, ending: str, tolerance: float) -> None:
    """The usual formats decode to what was written."""
    path = tmp_path / f"tone.{ending}"
    soundfile.write(path, tone(), 16000)
    samples, rate = read(path)
    assert (rate, len(samples), samples.dtype) == (16000, N, np.float32)
    assert np.abs(samples - tone())[1000:-1000].max() < tolerance


def test_mixes_channels_down(tmp_path: Path) -> None:
    """Channels are averaged."""
    path = tmp_path / "two.wav"
    soundfile.write(path, np.stack([tone(), np.zeros(N)], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read(path)[0], tone() / 2, atol=1e-6)


def test_decodes_in_blocks(tmp_path: Path) -> None:
    """A long file arrives in blocks of bounded size, and the header tells its length."""
    path = tmp_path / "long.flac"
    soundfile.write(path, tone(n=200_000), 16000)
    with open_audio(path) as file:
        assert file.duration_s == 12.5
        sizes = [len(block) for block in file.blocks()]
    assert sum(sizes) == 200_000
    assert max(sizes) <= 65536


def test_brings_high_rates_down(tmp_path: Path) -> None:
    """Rates above 48 kHz become 48 kHz."""
    path = tmp_path / "high.wav"
    soundfile.write(path, tone(96000, 96000), 96000)
    samples, rate = read(path)
    assert (rate, len(samples)) == (48000, 48000)
    assert np.abs(samples - tone(48000, 48000))[1000:-1000].max() < 1e-3


def test_clips_overshoot(tmp_path: Path) -> None:
    """Floats beyond full scale are clipped."""
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([2.0, -3.0, 0.5]), 16000, subtype="FLOAT")
    assert read(path)[0].tolist() == [1.0, -1.0, 0.5]


def test_wav_written_to_a_pipe(tmp_path: Path) -> None:
    """A WAV file whose header does not know its length is read to its end."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(), 16000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    with open_upload(bytes(data)) as file:
        assert sum(len(block) for block in file.blocks()) == N


def test_flac_written_to_a_pipe() -> None:
    """Its header does not tell a length: it is decoded to its end, and held to the limit while it is."""
    samples = speech(200_000)
    data = bytearray(flac(samples, 16000))
    # The lower 36 bits of these eight bytes are the number of samples (RFC 9639, section 8.2).
    data[18:26] = (int.from_bytes(data[18:26]) >> 36 << 36).to_bytes(8)
    with open_upload(bytes(data)) as audio:
        assert audio.duration_s is None
        np.testing.assert_allclose(np.concatenate(list(audio.blocks())), samples, atol=1e-4)
    limits, message = UploadLimits(max_duration_s=12), "is longer than the limit of 12 s"
    with open_upload(bytes(data), limits=limits) as audio, pytest.raises(MessageTooLarge, match=message):
        list(audio.blocks())


def test_name_does_not_decide(tmp_path: Path) -> None:
    """The content says what a file is, whatever it is called."""
    path = tmp_path / "tone.raw"
    soundfile.write(path, tone(), 16000, format="FLAC")
    with open_upload(path.read_bytes()) as file:
        assert sum(len(block) for block in file.blocks()) == N
    with pytest.raises(InvalidRequest, match=r"tone.raw is not audio that can be decoded: unknown format"):
        open_audio(path)


def cut(path: Path, ending: str, part: float) -> Path:
    soundfile.write(path.with_suffix(f".{ending}"), tone(), 16000)
    data = path.with_suffix(f".{ending}").read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    return path


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("wav", "cut is truncated: expected 80000 bytes of audio, got 39978"),
        ("flac", "cut is damaged or truncated: "),
        ("mp3", "cut is truncated: expected 40000 samples, got "),
        ("ogg", "cut is truncated: its last page is missing"),
    ],
)
def test_refuses_truncated_files(tmp_path: Path, ending: str, message: str) -> None:
    """Half a file is not passed off as a whole one."""
    path = cut(tmp_path / "cut", ending, 0.5)
    with pytest.raises(InvalidRequest) as caught:
        read(path)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "talk.txt is not audio that can be decoded: format not recognised"),
        (b"hello world\n" * 40, "talk.txt is not audio that can be decoded: format not recognised"),
        (b"RIFF\x24\x00\x00\x00WAVE", "talk.txt is not audio that can be decoded: "),
    ],
)
def test_refuses_what_is_not_audio(tmp_path: Path, content: bytes, message: str) -> None:
    """Other files are refused by name, without a path."""
    path = tmp_path / "talk.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        read(path)
    assert str(caught.value).startswith(message)
    assert str(tmp_path) not in str(caught.value)
    assert not str(caught.value).endswith(".")


def test_refuses_what_cannot_be_opened(tmp_path: Path) -> None:
    """A missing file and a folder are refused."""
    with pytest.raises(InvalidRequest, match=r"^cannot open no.wav: no such file or directory$"):
        open_audio(tmp_path / "no.wav")
    with pytest.raises(InvalidRequest, match=r"^cannot open .*: is a directory$"):
        open_audio(tmp_path)


@pytest.mark.parametrize(
    ("samples", "rate", "subtype", "file_format", "message"),
    [
        (np.zeros(0), 16000, "PCM_16", "WAV", "upload holds no audio"),
        (np.array([0, np.nan]), 16000, "FLOAT", "WAV", "upload holds samples that are not finite numbers"),
        (np.zeros(10), 4000, "PCM_16", "WAV", "upload: expected a sample rate from 8000 to 768000 Hz, got 4000"),
        (np.zeros((10, 40)), 16000, "PCM_16", "WAV", "upload: expected at most 32 channels, got 40"),
        (np.zeros(10), 16000, "PCM_16", "AU", "upload: expected wav, wavex, rf64, flac, ogg, mp3, got au"),
    ],
)
def test_refuses_bad_content(samples: np.ndarray, rate: int, subtype: str, file_format: str, message: str) -> None:
    """Each kind of audio that is not served has its own line."""
    data = io.BytesIO()
    soundfile.write(data, samples, rate, subtype=subtype, format=file_format)
    with pytest.raises(InvalidRequest) as caught, open_upload(data.getvalue()) as file:
        list(file.blocks())
    assert str(caught.value) == message


def test_caps_what_is_decoded(tmp_path: Path) -> None:
    """Too long a file is refused when it is opened, and while it decodes if its header lies."""
    path = tmp_path / "long.flac"
    soundfile.write(path, tone(), 16000)
    with pytest.raises(MessageTooLarge, match=r"^long.flac is longer than the limit of 2 s$"):
        open_audio(path, UploadLimits(max_duration_s=2.0))
    wav = tmp_path / "long.wav"
    soundfile.write(wav, tone(), 16000)
    data = bytearray(wav.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    with pytest.raises(MessageTooLarge), open_upload(bytes(data), limits=UploadLimits(max_duration_s=2.0)) as file:
        list(file.blocks())


def encoded(file_format: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, tone(n=4000), 16000, format=file_format)
    return data.getvalue()


SEEDS = [encoded(file_format) for file_format in ("WAV", "FLAC", "OGG")]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    length=st.one_of(st.none(), st.integers(0, 3000)),
)
def test_damaged_files_raise_nothing_else(seed: bytes, changes: list[tuple[int, int]], length: int | None) -> None:
    """Whatever the bytes, a file decodes within its limit or is refused."""
    data = bytearray(seed)
    for place, value in changes:
        data[place] = value
    try:
        with open_upload(bytes(data[:length]), limits=UploadLimits(max_duration_s=10.0)) as file:
            decoded = sum(len(block) for block in file.blocks())
        assert decoded <= 10.0 * file.sample_rate + 1
    except StreamerError:
        pass


class Pipe(io.RawIOBase):
    """Hands out `size` bytes at a time, like a slow pipe."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    def read(self, n: int = -1) -> bytes:
        part, self._data = self._data[: min(n, self._size)], self._data[min(n, self._size) :]
        return part


def test_pipe_gives_whole_samples() -> None:
    """Blocks are whole whatever the pipe hands out."""
    data = bytes(range(22))
    assert list(read_pcm(Pipe(data, 3), "pcm_s16le", 4)) == [data[:8], data[8:16], data[16:]]


def test_pipe_that_ends_inside_a_sample() -> None:
    """Half a sample at the end is an error."""
    with pytest.raises(InvalidRequest, match="audio frame of 3 bytes is not a multiple of 2 bytes per sample"):
        list(read_pcm(io.BytesIO(b"abc"), "pcm_s16le", 4))
