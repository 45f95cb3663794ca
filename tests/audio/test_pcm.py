"""PCM bytes and samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamer.audio.encodings import check_format
from streamer.audio.pcm import decode, encode
from streamer.errors import InvalidRequest


def test_s16_full_scale() -> None:
    """The 16 bit range maps to [-1, 1), little-endian."""
    samples = decode(b"\x00\x80\x00\x00\xff\x7f\x01\x00", "pcm_s16le")
    assert samples.dtype == np.float32
    assert samples.tolist() == [-1.0, 0.0, 32767 / 32768, 1 / 32768]


@given(st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0))
def test_s16_round_trip(data: bytes) -> None:
    """Every 16 bit value survives decoding and encoding."""
    assert encode(decode(data, "pcm_s16le"), "pcm_s16le") == data


@given(hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(-1, 1, width=32)))
def test_f32_round_trip(samples: np.ndarray) -> None:
    """Floats in range survive encoding and decoding."""
    np.testing.assert_array_equal(decode(encode(samples, "pcm_f32le"), "pcm_f32le"), samples)


def test_encode_clips() -> None:
    """What is beyond full scale is clipped, not wrapped."""
    loud = np.array([2.0, -2.0, 1.0], np.float32)
    assert np.frombuffer(encode(loud, "pcm_s16le"), "<i2").tolist() == [32767, -32768, 32767]
    assert np.frombuffer(encode(loud, "pcm_f32le"), "<f4").tolist() == [1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"abc", "pcm_s16le", "audio frame of 3 bytes is not a multiple of 2 bytes per sample"),
        (b"abcdef", "pcm_f32le", "audio frame of 6 bytes is not a multiple of 4 bytes per sample"),
        (b"", "opus", "expected one of pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, got 'opus'"),
        (b"", "", "expected one of pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, got ''"),
        (np.float32([0, np.nan]).tobytes(), "pcm_f32le", "sample 11 is nan, expected a float from -1 to 1"),
        (np.float32([np.inf]).tobytes(), "pcm_f32le", "sample 10 is inf, expected a float from -1 to 1"),
        (np.float32([1, -1, -1.5, 3]).tobytes(), "pcm_f32le", "sample 12 is -1.5, expected a float from -1 to 1"),
    ],
)
def test_refuses_bad_audio(data: bytes, encoding: str, message: str) -> None:
    """Each kind of bad audio is refused with its place and value."""
    with pytest.raises(InvalidRequest) as caught:
        decode(data, encoding, first_sample=10)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("sample_rate", "channels", "message"),
    [
        (0, 1, "expected an integer sample rate from 8000 to 48000 Hz, got 0"),
        (7999, 1, "expected an integer sample rate from 8000 to 48000 Hz, got 7999"),
        (48001, 1, "expected an integer sample rate from 8000 to 48000 Hz, got 48001"),
        (16000.5, 1, "expected an integer sample rate from 8000 to 48000 Hz, got 16000.5"),
        (True, 1, "expected an integer sample rate from 8000 to 48000 Hz, got True"),
        (16000, 2, "expected 1 channel, got 2"),
        (16000, 0, "expected 1 channel, got 0"),
        (16000, True, "expected 1 channel, got True"),
    ],
)
def test_refuses_bad_formats(sample_rate: int, channels: int, message: str) -> None:
    """Nothing about a format is guessed."""
    with pytest.raises(InvalidRequest) as caught:
        check_format("pcm_s16le", sample_rate, channels)
    assert str(caught.value) == message


def test_accepts_good_formats() -> None:
    """The limits themselves are allowed."""
    check_format("pcm_s16le", 8000, 1)
    check_format("pcm_f32le", 48000, 1)
