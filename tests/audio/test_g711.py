"""Telephone samples."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from streamer.audio.pcm import decode, encode

LAWS = [("pcm_mulaw", "ULAW"), ("pcm_alaw", "ALAW")]
ALL_CODES = bytes(range(256))


@pytest.mark.parametrize(("encoding", "subtype"), LAWS)
def test_every_code_has_the_value_of_the_reference(encoding: str, subtype: str) -> None:
    """All 256 codes decode as in libsndfile, on the scale of 16-bit PCM."""
    raw = {"format": "RAW", "subtype": subtype, "samplerate": 8000, "channels": 1}
    expected = soundfile.read(io.BytesIO(ALL_CODES), dtype="int16", **raw)[0]
    samples = decode(ALL_CODES, encoding)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples * 32768, expected)


@pytest.mark.parametrize(("encoding", "subtype"), LAWS)
def test_every_sample_has_the_code_of_the_reference(encoding: str, subtype: str) -> None:
    """All 65,536 values of 16-bit PCM encode as in libsndfile."""
    samples = np.arange(-32768, 32768).astype(np.int16)
    reference = io.BytesIO()
    soundfile.write(reference, samples, 8000, format="RAW", subtype=subtype)
    assert encode(samples / np.float32(32768), encoding) == reference.getvalue()


@pytest.mark.parametrize(
    ("encoding", "code", "value"),
    [
        ("pcm_mulaw", 0x80, 8031 << 2),
        ("pcm_mulaw", 0x00, -8031 << 2),
        ("pcm_mulaw", 0xFF, 0),
        ("pcm_mulaw", 0xFE, 2 << 2),
        ("pcm_alaw", 0xAA, 4032 << 3),
        ("pcm_alaw", 0x2A, -4032 << 3),
        ("pcm_alaw", 0xD5, 1 << 3),
    ],
)
def test_values_of_the_recommendation(encoding: str, code: int, value: int) -> None:
    """Ends and middle of tables 1 and 2 of G.711, in its units of 14 and 13 bits."""
    assert decode(bytes([code]), encoding)[0] * 32768 == value


@pytest.mark.parametrize(("encoding", "subtype"), LAWS)
def test_codes_survive(encoding: str, subtype: str) -> None:
    """Encoding gives back what was decoded, but for mu-law's negative zero."""
    again = encode(decode(ALL_CODES, encoding), encoding)
    assert [index for index in range(256) if again[index] != index] == ([0x7F] if subtype == "ULAW" else [])
