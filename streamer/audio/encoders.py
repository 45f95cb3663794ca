"""Sound as the bytes of a file, for someone who reads along: nothing that was given out is changed afterwards."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, Protocol, cast

from streamer.audio.writers import open_writer

RAW = "pcm"
FORMATS = ("mp3", "opus", "aac", "flac", "wav", RAW)
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# "As long as it goes on": the size of a WAV file whose end is not known yet.
_OPEN_ENDED = 0xFFFFFFFF
_TAG_HEAD = 4


class Encoder(Protocol):
    """Takes mono 16-bit PCM piece by piece, and returns what the file goes on with. May take its time."""

    def encode(self, pcm: bytes) -> bytes:
        """Return the bytes that follow; an encoder may hold some sound back."""

    def finish(self) -> bytes:
        """Return the last bytes."""


def open_encoder(form: str, sample_rate: int) -> Encoder:
    """Return what encodes mono sound at `sample_rate` (Hz) in one of the `FORMATS`.

    Numbers that a file has in front and only its end knows say that they are not known: a WAV file has the sizes
    0xFFFFFFFF, FLAC no number of samples and no checksum, MP3 no information frame.

    Raises `InvalidRequest` for a rate that the format does not know, and for `aac` where PyAV is not installed.
    """
    if form == RAW:
        return _Raw(b"")
    if form == "wav":
        return _Raw(_wav_header(sample_rate))
    return _File(form, sample_rate)


class _Raw:
    """Samples as they are, after a header."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def encode(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + pcm

    def finish(self) -> bytes:
        return self.encode(b"")


class _File:
    def __init__(self, form: str, sample_rate: int) -> None:
        self._outgoing = _Outgoing()
        self._writer = open_writer(cast("BinaryIO", self._outgoing), form, sample_rate)
        self._is_tagged = form == "mp3"

    def encode(self, pcm: bytes) -> bytes:
        self._writer.write(pcm)
        return self._taken()

    def finish(self) -> bytes:
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = self._outgoing.take()
        if self._is_tagged and data:
            self._is_tagged = False
            return _without_placeholder(data)
        return data


class _Outgoing(io.RawIOBase):
    """A file that only grows for whoever reads it: what is written over earlier bytes is dropped."""

    def __init__(self) -> None:
        self._fresh = bytearray()
        self._position = self._end = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raw = bytes(data)  # type: ignore[call-overload]
        self._fresh += raw[self._end - self._position :] if self._position < self._end else raw
        self._position += len(raw)
        self._end = max(self._end, self._position)
        return len(raw)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: object) -> int:
        """Writers of libsndfile ask for this method, and never call it."""
        return 0

    def take(self) -> bytes:
        data = bytes(self._fresh)
        self._fresh.clear()
        return data


def _without_placeholder(data: bytes) -> bytes:
    """Drop the frame of zeros in which the encoder would note the length at the end: players take it for sound."""
    rest = data[_TAG_HEAD:].lstrip(b"\0")
    return rest if len(data) - len(rest) > 4 * _TAG_HEAD else data


def _wav_header(sample_rate: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    sizes = struct.pack("<I", _OPEN_ENDED)
    return b"RIFF" + sizes + b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + sizes
