"""The beginning of audio: what a header declares, whatever the pieces are in which it comes."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from streamer.errors import InvalidRequest
from streamer.gateway.head import AudioHead, Format

SAMPLES = np.arange(-500, 500, dtype="<i2")
PCM = SAMPLES.tobytes()


def file_of(format: str, subtype: str, rate: int = 16000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.repeat(SAMPLES[:, None], channels, axis=1), rate, format=format, subtype=subtype)
    return file.getvalue()


def heard(head: AudioHead, data: bytes, piece: int) -> bytes:
    """All audio that `head` passes on of `data`, sent in pieces; what comes first has a known format."""
    out = b""
    for start in range(0, len(data), piece):
        out += head.feed(data[start : start + piece])
        assert head.format is not None or not out
    return out + head.finish()


@pytest.mark.parametrize("piece", [1, 3, 7, 44, 100_000])
@pytest.mark.parametrize(
    ("subtype", "encoding"),
    [("PCM_16", "pcm_s16le"), ("FLOAT", "pcm_f32le"), ("ULAW", "pcm_mulaw"), ("ALAW", "pcm_alaw")],
)
@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
def test_a_wav_header_declares_its_samples(format, subtype, encoding, piece):
    """Only the samples are passed on, nothing of the chunks before and after them."""
    data = file_of(format, subtype, 8000) + b"LIST\x04\x00\x00\x00abcd"
    head = AudioHead(None, 0)
    audio = heard(head, data, piece)
    assert head.format == Format(encoding, 8000)
    expected = soundfile.read(io.BytesIO(file_of("WAV", subtype, 8000)), dtype="float32")[0]
    declared = {"pcm_s16le": "PCM_16", "pcm_f32le": "FLOAT", "pcm_mulaw": "ULAW", "pcm_alaw": "ALAW"}[encoding]
    raw = io.BytesIO(audio)
    read = soundfile.read(raw, dtype="float32", format="RAW", subtype=declared, channels=1, samplerate=8000)[0]
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("piece", [1, 5, 100_000])
def test_a_header_may_come_where_samples_are_declared(piece):
    """NVIDIA's scripts declare the samples of a wav file and send the file."""
    assert heard(AudioHead("pcm_s16le", 16000), file_of("WAV", "PCM_16"), piece) == PCM
    assert heard(AudioHead("pcm_s16le", 16000), PCM, piece) == PCM


def test_a_wav_file_of_unknown_length_goes_on_to_the_end():
    """A recorder that cannot seek leaves the length open."""
    data = bytearray(file_of("WAV", "PCM_16"))
    at = data.index(b"data") + 4
    for length in (0, 0xFFFFFFFF):
        data[at : at + 4] = struct.pack("<I", length)
        assert heard(AudioHead(None, 0), bytes(data), 999) == PCM


@pytest.mark.parametrize("piece", [1, 20, 100_000])
def test_flac_and_ogg_are_passed_on_as_they_are(piece):
    """Their decoders need the headers; the rate of flac stands in it, opus has one."""
    flac, ogg = file_of("FLAC", "PCM_16", 22050), file_of("OGG", "OPUS", 16000)
    for declared, rate in ((None, 0), ("flac", 0), ("flac", 22050)):
        head = AudioHead(declared, rate)
        assert heard(head, flac, piece) == flac
        assert head.format == Format("flac", 22050)
    for declared, rate in ((None, 0), ("ogg_opus", 0), ("ogg_opus", 48000)):
        head = AudioHead(declared, rate)
        assert heard(head, ogg, piece) == ogg
        assert head.format == Format("ogg_opus", 48000)


def test_short_audio_of_a_declared_format_is_not_lost():
    """Fewer bytes than a header could have, and none at all."""
    assert heard(AudioHead("pcm_s16le", 16000), b"1234", 4) == b"1234"
    assert heard(AudioHead("pcm_s16le", 16000), b"", 4) == b""
    assert heard(AudioHead("pcm_mulaw", 8000), b"123", 1) == b"123"


def wav(fmt: bytes, rest: bytes = b"data\x00\x00\x00\x00") -> bytes:
    return b"RIFF\x00\x00\x00\x00WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + rest


OR_HEADER = "or audio with the header of wav, flac or ogg"
BAD = {
    "nothing": (None, 0, b"", f"expected encoding, {OR_HEADER}, got b''"),
    "noise": (None, 16000, bytes(20), f"expected encoding, {OR_HEADER}, got {bytes(4)!r}"),
    "short_noise": (None, 16000, b"ab", f"expected encoding, {OR_HEADER}, got b'ab'"),
    "no_rate": ("pcm_s16le", 0, PCM, f"expected sample_rate, {OR_HEADER}, got {PCM[:4]!r}"),
    "no_rate_mulaw": ("pcm_mulaw", 0, PCM, f"expected sample_rate, {OR_HEADER}, got {PCM[:4]!r}"),
    "not_flac": ("flac", 0, PCM, f"expected audio that begins like flac, got {PCM[:4]!r}"),
    "other_rate": (
        "pcm_s16le",
        8000,
        file_of("WAV", "PCM_16"),
        "wav header: expected 8000 Hz as in the config, got 16000 Hz",
    ),
    "other_samples": (
        "pcm_s16le",
        16000,
        file_of("WAV", "FLOAT"),
        "wav header: expected pcm_s16le as in the config, got pcm_f32le",
    ),
    "stereo": (None, 0, file_of("WAV", "PCM_16", channels=2), "wav header: expected 1 channel, got 2"),
    "24_bit": (
        None,
        0,
        file_of("WAV", "PCM_24"),
        "wav header: expected samples of 16 bit, 32 bit float, mu-law or A-law, got format 1 of 24 bit",
    ),
    "short_fmt": (None, 0, wav(b"12"), "wav header: expected a chunk fmt of at least 16 bytes, got 2"),
    "no_fmt": (
        None,
        0,
        b"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00",
        "wav header: expected a chunk fmt before the samples",
    ),
    "endless_header": (
        None,
        0,
        wav(struct.pack("<HHIIHH", 1, 1, 8000, 0, 0, 16), b"junk\xff\xff\xff\x7f"),
        "wav header: expected samples within 65536 bytes",
    ),
    "long_header": (
        None,
        0,
        b"RIFF\x00\x00\x00\x00WAVEjunk\xff\xff\xff\x7f",
        "wav header: expected samples within 65536 bytes",
    ),
    "cut_header": (None, 0, file_of("WAV", "PCM_16")[:30], f"expected encoding, {OR_HEADER}, got b'RIFF'"),
    "cut_sample": (None, 0, file_of("WAV", "PCM_16")[:47], "audio ends in the middle of a sample"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_declares_nothing_is_refused(name):
    """With what was expected and what was there."""
    declared, rate, data, text = BAD[name]
    with pytest.raises(InvalidRequest) as caught:
        heard(AudioHead(declared, rate), data, 11)
    assert str(caught.value) == text
