"""Files that libsndfile decodes: wav, flac, ogg, mp3."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import soundfile

from streamer.errors import InvalidRequest
from streamer.work import Array

FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")

_BLOCK_SAMPLES = 65536
# An MP3 says how long it is in a header of this name inside its first frame, if at all.
_MP3_LENGTH_MARKS = (b"Xing", b"Info")
_MP3_HEAD_BYTES = 16384
_MAX_WAV_CHUNKS = 1000
# The longest page of the format, and the flag of the last one.
_OGG_PAGE_BYTES = 65307
_OGG_LAST_PAGE = 4
_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)
# What libsndfile makes of a flac header that tells no length, as those do that were written to a pipe: SF_COUNT_MAX.
_NO_LENGTH = 2**63 - 1


class SoundReader:
    """A `Reader` over libsndfile. It owns `stream` from its first line on, and closes it when it raises.

    Raises `InvalidRequest` for what is not audio of one of `FORMATS`, or ends before its header says.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._name = name
        self._stream = stream
        is_length_known = _check_wav_length(stream, name)
        _check_ogg_end(stream, name)
        self._sound = _open_sound(stream, name)
        if self._sound.format not in FORMATS:
            self.close()
            raise InvalidRequest(f"{name}: expected {', '.join(FORMATS).lower()}, got {self._sound.format.lower()}")
        if self._sound.format == "MP3":
            is_length_known = _has_mp3_length(stream)
        self.sample_rate = self._sound.samplerate
        self.channels = self._sound.channels
        has_length = self._sound.frames < _NO_LENGTH
        self.n_samples = self._sound.frames if is_length_known and has_length else None
        self.guessed_s: float | None = self._sound.frames / self.sample_rate if has_length else None
        self._block = max(1, _BLOCK_SAMPLES // self.channels)

    def read(self) -> Array:
        """Return the next samples, float32 `[n, channels]`; raises `InvalidRequest` when the file is damaged."""
        try:
            samples: Array = self._sound.read(self._block, dtype="float32", always_2d=True)
        except RuntimeError as error:
            raise InvalidRequest(f"{self._name} is damaged or truncated: {_reason(error)}") from None
        return samples

    def close(self) -> None:
        """Close the file."""
        self._sound.close()
        self._stream.close()


class _Sound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    def seekable(self) -> bool:
        # soundfile seeks after each block, which fails behind the last one of a file that has no length.
        return bool(self.frames < _NO_LENGTH and super().seekable())


def _open_sound(stream: BinaryIO, name: str) -> soundfile.SoundFile:
    try:
        return _Sound(stream)
    # TypeError: a file whose name ends in .raw, of which soundfile wants to be told the format.
    except (RuntimeError, TypeError) as error:
        stream.close()
        raise InvalidRequest(f"{name} is not audio that can be decoded: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", "") or "unknown format"
    return str(text).rstrip(". ").lower()


def _check_wav_length(stream: BinaryIO, name: str) -> bool:
    """Raise `InvalidRequest` when a WAV file is shorter than its data chunk says, which libsndfile reads over.

    Returns whether the header tells the length: it does not in a WAV that was written to a pipe.
    """
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(12)
    is_known = True
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        # A crafted file may hold nothing but headers of empty chunks.
        for _ in range(_MAX_WAV_CHUNKS):
            chunk = stream.read(8)
            if len(chunk) < 8:
                break
            kind, size = struct.unpack("<4sI", chunk)
            if kind == b"data":
                missing = stream.tell() + size - end
                is_known = size not in _UNKNOWN_LENGTHS
                if is_known and missing > 0:
                    stream.close()
                    raise InvalidRequest(f"{name} is truncated: expected {size} bytes of audio, got {size - missing}")
                break
            # Chunks are padded to an even length.
            stream.seek(size + size % 2, io.SEEK_CUR)
    stream.seek(0)
    return is_known


def _check_ogg_end(stream: BinaryIO, name: str) -> None:
    """Raise `InvalidRequest` when the last page of an Ogg file does not say that it is the last one (RFC 3533)."""
    is_ogg = stream.read(4) == b"OggS"
    end = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, end - _OGG_PAGE_BYTES))
    tail = stream.read() if is_ogg else b""
    stream.seek(0)
    flags = tail[tail.rfind(b"OggS") :][5:6]
    if is_ogg and not (flags and flags[0] & _OGG_LAST_PAGE):
        stream.close()
        raise InvalidRequest(f"{name} is truncated: its last page is missing")


def _has_mp3_length(stream: BinaryIO) -> bool:
    place = stream.tell()
    stream.seek(0)
    head = stream.read(_MP3_HEAD_BYTES)
    stream.seek(place)
    return any(mark in head for mark in _MP3_LENGTH_MARKS)
