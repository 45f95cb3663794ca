"""WAV files as PCM that a stream takes, and back: 16-bit mono and G.711 mono as they are, all else as mono floats.

Format and sizes as in the RIFF specification of Microsoft and IBM (1991), with `WAVE_FORMAT_EXTENSIBLE` of 2001.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from streamer.errors import InvalidRequest

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_RAW = {(_PCM, 16): "pcm_s16le", (_ALAW, 8): "pcm_alaw", (_MULAW, 8): "pcm_mulaw"}
_TAGS = {"pcm_s16le": (_PCM, 16), "pcm_f32le": (_FLOAT, 32), "pcm_alaw": (_ALAW, 8), "pcm_mulaw": (_MULAW, 8)}
# Writers that cannot seek back leave the size open.
_OPEN_ENDED = (0, 0xFFFFFFFF)
_LONGEST_HEADER = 1 << 16

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WavFormat:
    """The `fmt ` chunk; `bits` are those of one stored sample."""

    tag: int
    channels: int
    sample_rate: int
    block_bytes: int
    bits: int

    @property
    def raw_encoding(self) -> str | None:
        """The encoding in which a stream takes the data as it is, None if it has to be converted."""
        return _RAW.get((self.tag, self.bits)) if self.channels == 1 else None


@dataclass(frozen=True, slots=True)
class Wav:
    """An open file, read up to its samples."""

    format: WavFormat
    file: BinaryIO
    n_bytes: int | None
    """Bytes of samples, None if only the end of the file ends them."""

    @property
    def encoding(self) -> str:
        """The encoding of `blocks`."""
        return self.format.raw_encoding or "pcm_f32le"

    def blocks(self, seconds: float) -> Iterator[bytes]:
        """Yield the samples as mono PCM in blocks of about this length; blocks while it reads."""
        size = max(1, round(seconds * self.format.sample_rate)) * self.format.block_bytes
        convert = _converter(self.format)
        left = self.n_bytes
        while data := self.file.read(size if left is None else min(size, left)):
            left = None if left is None else left - len(data)
            # A file that was cut off may end amid a sample.
            whole = data[: len(data) - len(data) % self.format.block_bytes]
            yield convert(whole)


def open_wav(file: BinaryIO) -> Wav:
    """Read the headers of a file that begins with `RIFF`; raises `InvalidRequest` saying what is wrong with it."""
    header = file.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"WAVE":
        raise InvalidRequest("wav: expected a file that begins with RIFF and WAVE")
    found: WavFormat | None = None
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data":
            if found is None:
                raise InvalidRequest("wav: expected a chunk fmt before the samples, got none")
            return Wav(found, file, None if size in _OPEN_ENDED else size)
        content = _skimmed(file, size)
        if name == b"fmt ":
            found = _checked(_format(content))
    raise InvalidRequest("wav: expected a chunk data, got none")


def wav_file(data: bytes, encoding: str, sample_rate: int) -> bytes:
    """Return a WAV file of mono PCM in `encoding`, one that streams take."""
    return wav_header(len(data), encoding, sample_rate) + data + bytes(len(data) % 2)


def wav_header(n_bytes: int, encoding: str, sample_rate: int) -> bytes:
    """Return what a WAV file of `n_bytes` of mono PCM begins with; an odd number of bytes is followed by a zero."""
    tag, bits = _TAGS[encoding]
    size = bits // 8
    form = struct.pack("<HHIIHH", tag, 1, sample_rate, sample_rate * size, size, bits)
    if tag == _PCM:
        chunks = b"WAVE" + _chunk(b"fmt ", form)
    else:
        # Other formats have an extension, which is empty, and must say how many samples there are.
        chunks = b"WAVE" + _chunk(b"fmt ", form + bytes(2)) + _chunk(b"fact", struct.pack("<I", n_bytes // size))
    chunks += b"data" + struct.pack("<I", n_bytes)
    return b"RIFF" + struct.pack("<I", len(chunks) + n_bytes + n_bytes % 2) + chunks


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def _skimmed(file: BinaryIO, size: int) -> bytes:
    """Read past a chunk, and the byte that pads it to an even size; returns its beginning."""
    content = file.read(min(size, _LONGEST_HEADER))
    left = size + size % 2 - len(content)
    while left > 0 and (skipped := file.read(min(left, _LONGEST_HEADER))):
        left -= len(skipped)
    return content


def _format(content: bytes) -> WavFormat:
    if len(content) < 16:
        raise InvalidRequest(f"wav: expected a chunk fmt of at least 16 bytes, got {len(content)}")
    tag, channels, rate, _, block_bytes, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE and len(content) >= 26:
        # The first two bytes of the sub-format are a tag again.
        tag = int.from_bytes(content[24:26], "little")
    return WavFormat(tag, channels, rate, block_bytes, bits)


def _checked(form: WavFormat) -> WavFormat:
    known = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64), (_ALAW, 8), (_MULAW, 8)}
    if (form.tag, form.bits) not in known:
        raise InvalidRequest(f"wav: expected PCM, float or G.711 samples, got format {form.tag} of {form.bits} bits")
    if form.channels < 1 or form.block_bytes != form.channels * form.bits // 8:
        raise InvalidRequest(f"wav: {form.channels} channels of {form.bits} bits cannot take {form.block_bytes} bytes")
    if form.channels > 1 and form.tag in (_ALAW, _MULAW):
        raise InvalidRequest(f"wav: expected 1 channel of G.711, got {form.channels}")
    return form


def _converter(form: WavFormat) -> Callable[[bytes], bytes]:
    if form.raw_encoding is not None:
        return lambda data: data

    def convert(data: bytes) -> bytes:
        samples = _to_floats(data, form).reshape(-1, form.channels)
        mono = samples.mean(axis=1, dtype=np.float32)
        # A file may hold floats beyond full scale, a stream may not; NaN is for the server to refuse.
        return bytes(np.clip(mono, -1.0, 1.0).astype("<f4").tobytes())

    return convert


def _to_floats(data: bytes, form: WavFormat) -> _Floats:
    if form.tag == _FLOAT:
        return np.frombuffer(data, f"<f{form.bits // 8}").astype(np.float32)
    if form.bits == 8:
        # The only unsigned one.
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    return _integers(data, form.bits // 8).astype(np.float32) / np.float32(2 ** (form.bits - 1))


def _integers(data: bytes, size: int) -> npt.NDArray[Any]:
    if size != 3:
        return np.frombuffer(data, f"<i{size}")
    # Three bytes become the upper ones of four.
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.reshape(-1).view("<i4") >> 8
