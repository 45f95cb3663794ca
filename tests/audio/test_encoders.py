"""Files that are read while they are written: bytes come early, are never taken back, and decode to the sound."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from streamer.audio import extra
from streamer.audio.encoders import FORMATS, open_encoder
from streamer.audio.files import UploadLimits, open_upload
from streamer.audio.writers import open_writer
from streamer.errors import InvalidRequest

RATE = 24_000
SECOND = 2 * RATE
# Sound that an encoder may hold back at the most, in seconds, and how exact it is, as a share of the power.
CODED = {"mp3": (0.2, 0.02), "opus": (0.35, 0.15), "aac": (0.2, 0.05), "flac": (0.35, 0.0)}


def tone(seconds: float) -> bytes:
    """A chord that swells, so that places and levels tell."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = (np.sin(2 * np.pi * 220 * time) + np.sin(2 * np.pi * 555 * time)) * (1 + np.sin(2 * np.pi * time)) / 8
    return bytes((32767 * sound).astype("<i2").tobytes())


def encoded(form: str, pcm: bytes, piece: int) -> tuple[list[int], bytes]:
    """The file, and how long it was after each piece."""
    encoder = open_encoder(form, RATE)
    data, lengths = b"", []
    for start in range(0, len(pcm), piece):
        data += encoder.encode(pcm[start : start + piece])
        lengths.append(len(data))
    return lengths, data + encoder.finish()


def decoded(form: str, data: bytes) -> np.ndarray:
    """What a decoder makes of it: ours, or for AAC ffmpeg's."""
    if form == "aac":
        av = pytest.importorskip("av")
        with av.open(io.BytesIO(data)) as container:
            return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    with open_upload(io.BytesIO(data), f"a.{form}", UploadLimits(max_duration_s=60)) as audio:
        assert audio.sample_rate in (RATE, 48_000)
        step = audio.sample_rate // RATE
        return np.concatenate(list(audio.blocks()))[::step]


@pytest.mark.parametrize("form", CODED)
def test_sound_comes_out_while_it_is_written(form: str) -> None:
    """Bytes follow the sound closely, and what they decode to is the sound."""
    if form == "aac":
        pytest.importorskip("av")
    pcm = tone(4.0)
    lengths, data = encoded(form, pcm, SECOND // 10)
    held_back_s, inexact = CODED[form]
    steps = np.flatnonzero(np.diff([0, *lengths]))
    assert np.diff(steps).max() / 10 <= held_back_s
    assert lengths[-1] >= len(data) * (1 - (held_back_s + 0.3) / 4)
    sound = np.frombuffer(pcm, "<i2") / 32768
    found = decoded(form, data)
    assert len(sound) <= len(found) <= len(sound) + 0.15 * RATE
    delay = int(np.argmax(np.correlate(found[: RATE + 4800], sound[:RATE], "valid")))
    error = found[delay : delay + len(sound)][: len(sound) - 4800] - sound[: len(found) - delay][: len(sound) - 4800]
    assert np.mean(error**2) <= inexact * np.mean(sound**2)


@pytest.mark.parametrize("form", [*CODED, "wav", "pcm"])
def test_pieces_do_not_matter(form: str) -> None:
    """Any split of the sound gives the same file, but for the serial number that Ogg draws by chance."""
    if form == "aac":
        pytest.importorskip("av")
    pcm = tone(0.5)
    files = [encoded(form, pcm, piece)[1] for piece in (962, 24_000)]
    if form == "opus":
        first, second = (decoded(form, data) for data in files)
        np.testing.assert_array_equal(first, second)
    else:
        assert files[0] == files[1]


def test_raw_formats_begin_at_once() -> None:
    """PCM is what it is; a WAV file is it after a header that leaves its size open."""
    pcm = tone(0.1)
    assert encoded("pcm", pcm, 100)[1] == pcm
    data = encoded("wav", pcm, 100)[1]
    assert data[44:] == pcm
    assert (data[:4], data[8:16], data[36:40]) == (b"RIFF", b"WAVEfmt ", b"data")
    assert struct.unpack("<I", data[4:8]) == struct.unpack("<I", data[40:44]) == (0xFFFFFFFF,)
    assert len(decoded("wav", data)) == len(pcm) // 2


@pytest.mark.parametrize("form", FORMATS)
def test_no_sound_at_all(form: str) -> None:
    """A file without sound ends well."""
    if form == "aac":
        pytest.importorskip("av")
    encoder = open_encoder(form, RATE)
    assert isinstance(encoder.finish(), bytes)


def test_mp3_has_no_frame_of_zeros() -> None:
    """The encoder's placeholder for the length is left out: it would be heard as silence of its own length."""
    data = encoded("mp3", tone(1.0), SECOND)[1]
    assert data[:2] == b"\xff\xf3"
    assert data[4:40] != bytes(36)


@pytest.mark.parametrize(("form", "rate"), [("opus", 22_050), ("mp3", 47_000), ("aac", 47_000)])
def test_rates_that_a_format_lacks(form: str, rate: int) -> None:
    """They are refused with those that it has."""
    if form == "aac":
        pytest.importorskip("av")
    with pytest.raises(InvalidRequest, match=rf"^{form}: expected a sample rate of .*48000 Hz, got {rate}$"):
        open_encoder(form, rate)


def test_aac_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which extra there is."""
    monkeypatch.setattr(extra, "load_av", lambda: None)
    with pytest.raises(InvalidRequest, match=r"^aac needs the package av, .*streamer-speech\[av\]'$"):
        open_encoder("aac", RATE)


@pytest.mark.parametrize("form", ["wav", "flac", "vorbis", "opus", "mp3"])
def test_files_on_disk_know_their_length(form: str, tmp_path) -> None:
    """A file that can be sought in gets the numbers that a stream leaves open."""
    path = tmp_path / "a"
    pcm = tone(1.0)
    with path.open("w+b") as file:
        writer = open_writer(file, form, RATE)
        writer.write(pcm)
        writer.close()
        writer.close()
        assert not file.closed
    # An MP3 file is whole frames of 576 samples.
    assert 0 <= soundfile.info(path).frames - RATE < (2 * 576 if form == "mp3" else 1)
