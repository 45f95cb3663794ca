"""WAV headers and samples, written byte by byte and by the standard library."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest

from streamer.client.wav import open_wav
from streamer.errors import InvalidRequest


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(tag=1, channels=1, rate=16000, bits=16, data=b"", before=b"", extra=b"", block=None):
    block = channels * bits // 8 if block is None else block
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra
    body = b"WAVE" + before + chunk(b"fmt ", fmt) + chunk(b"data", data)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def read(content: bytes, seconds: float = 1.0) -> tuple[str, bytes]:
    opened = open_wav(io.BytesIO(content))
    return opened.encoding, b"".join(opened.blocks(seconds))


def floats(content: bytes) -> list[float]:
    encoding, data = read(content)
    assert encoding == "pcm_f32le"
    return np.frombuffer(data, "<f4").tolist()


def test_sixteen_bits_go_as_they_are():
    """What the standard library writes comes out byte for byte, in blocks of the length asked for."""
    pcm = np.arange(-500, 500, dtype="<i2").tobytes()
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(pcm)
    opened = open_wav(io.BytesIO(file.getvalue()))
    blocks = list(opened.blocks(0.05))
    assert (opened.encoding, opened.format.sample_rate) == ("pcm_s16le", 8000)
    assert [len(block) for block in blocks] == [800, 800, 400]
    assert b"".join(blocks) == pcm


@pytest.mark.parametrize(("tag", "encoding"), [(6, "pcm_alaw"), (7, "pcm_mulaw")])
def test_telephone_audio_goes_as_it_is(tag, encoding):
    """G.711 is an encoding of streams."""
    assert read(wav(tag=tag, bits=8, data=b"\x01\x02\xff")) == (encoding, b"\x01\x02\xff")


def test_other_widths_become_floats():
    """Full scale is -1 for each of them; 8 bits are unsigned, 24 bits packed."""
    assert floats(wav(bits=8, data=bytes([0, 128, 192]))) == [-1.0, 0.0, 0.5]
    assert floats(wav(bits=24, data=b"\x00\x00\x80\x00\x00\x40\xff\xff\xff")) == [-1.0, 0.5, pytest.approx(-(2**-23))]
    assert floats(wav(bits=32, data=struct.pack("<2i", -(2**31), 2**30))) == [-1.0, 0.5]
    assert floats(wav(tag=3, bits=32, data=struct.pack("<3f", -1, 0.25, 1.5))) == [-1.0, 0.25, 1.0]
    assert floats(wav(tag=3, bits=64, data=struct.pack("<2d", -1, 0.25))) == [-1.0, 0.25]


def test_channels_are_averaged():
    """A stream is mono."""
    assert floats(wav(channels=2, data=struct.pack("<4h", 16384, 0, -32768, -32768))) == [0.25, -1.0]


def test_extensible_names_its_format_further_on():
    """The tag of the sub-format counts."""
    extra = struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + b"\x00" * 14
    assert read(wav(tag=0xFFFE, extra=extra, data=b"abcd")) == ("pcm_s16le", b"abcd")


def test_other_chunks_are_skipped():
    """Also long ones, and the byte that pads those of odd size."""
    before = chunk(b"LIST", b"odd") + chunk(b"junk", bytes(200_000))
    assert read(wav(before=before, data=b"abcd")) == ("pcm_s16le", b"abcd")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_open_ended_files_are_read_to_their_end(size):
    """Writers to a pipe do not know the size beforehand."""
    content = bytearray(wav(data=b"abcdef"))
    content[-10:-6] = struct.pack("<I", size)
    assert read(bytes(content)) == ("pcm_s16le", b"abcdef")


def test_what_follows_the_samples_is_not_audio():
    """Tags are written at the end of files too."""
    assert read(wav(data=b"abcd") + chunk(b"LIST", b"tags")) == ("pcm_s16le", b"abcd")


def test_a_file_that_was_cut_off_gives_its_whole_samples():
    """What is there is transcribed."""
    assert read(wav(data=b"abcdef")[:-1]) == ("pcm_s16le", b"abcd")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFX1234WAVE", r"^wav: expected a file that begins with RIFF and WAVE$"),
        (b"RIFF1234WAVE", r"^wav: expected a chunk data, got none$"),
        (b"RIFF1234WAVE" + chunk(b"data", b"ab"), r"^wav: expected a chunk fmt before the samples, got none$"),
        (b"RIFF1234WAVE" + chunk(b"fmt ", b"ab"), r"^wav: expected a chunk fmt of at least 16 bytes, got 2$"),
        (wav(tag=2, bits=4, block=1), r"^wav: expected PCM, float or G\.711 samples, got format 2 of 4 bits$"),
        (wav(channels=0), r"^wav: 0 channels of 16 bits cannot take 0 bytes$"),
        (wav(block=3), r"^wav: 1 channels of 16 bits cannot take 3 bytes$"),
        (wav(tag=7, channels=2, bits=8), r"^wav: expected 1 channel of G\.711, got 2$"),
    ],
)
def test_bad_files_are_refused_by_what_is_wrong(content, message):
    """Before anything is sent."""
    with pytest.raises(InvalidRequest, match=message):
        open_wav(io.BytesIO(content))
