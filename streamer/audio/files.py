"""Audio files (wav, flac, ogg, mp3) decoded block by block, with a cap on what they decode to, and raw PCM pipes."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from streamer.audio.pcm import MAX_RATE, MIN_RATE, bytes_per_sample, count_samples
from streamer.errors import InvalidRequest, MessageTooLarge
from streamer.work import Array

FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")
MAX_DURATION_S = 4 * 3600.0

_MAX_FILE_RATE = 768_000
_MAX_CHANNELS = 32
_BLOCK_FRAMES = 65536
# An MP3 says how long it is in a header of this name inside its first frame, if at all.
_MP3_LENGTH_MARKS = (b"Xing", b"Info")
_MP3_HEAD_BYTES = 16384
_MAX_WAV_CHUNKS = 1000
# The longest page of the format, and the flag of the last one.
_OGG_PAGE_BYTES = 65307
_OGG_LAST_PAGE = 4
_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)


class AudioFile:
    """An open audio file: mono float32 in [-1, 1] at `sample_rate` (the file's own, at most 48 kHz), read once.

    Raises `InvalidRequest` for what is not audio, is empty or ends early, `MessageTooLarge` above `max_duration_s`.
    Several channels are averaged; floats outside [-1, 1], which lossy codecs overshoot to, are clipped.
    """

    def __init__(self, stream: BinaryIO, name: str, max_duration_s: float = MAX_DURATION_S) -> None:
        self.name = name
        self._stream = stream
        self._is_length_known = _check_wav_length(stream, name)
        _check_ogg_end(stream, name)
        self._sound = _open_sound(stream, name)
        self._limit_s = max_duration_s
        try:
            self._check_header()
        except BaseException:
            self.close()
            raise
        self.sample_rate = min(self._sound.samplerate, MAX_RATE)

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; `blocks` cannot be read any more."""
        self._sound.close()
        self._stream.close()

    @property
    def duration_s(self) -> float:
        """Length that the header tells; not more than a guess for some files."""
        return float(self._sound.frames / self._sound.samplerate)

    def blocks(self) -> Iterator[Array]:
        """Decode the file as blocks of mono samples, float32 `[n]`, none of them empty."""
        rate = self._sound.samplerate
        if rate <= MAX_RATE:
            yield from self._decoded()
            return
        down = soxr.ResampleStream(rate, MAX_RATE, 1, dtype="float32")
        for block in self._decoded():
            yield from _not_empty(down.resample_chunk(block))
        yield from _not_empty(down.resample_chunk(np.zeros(0, np.float32), last=True))

    def _decoded(self) -> Iterator[Array]:
        decoded = 0
        while len(frames := self._read()):
            decoded += len(frames)
            self._check_duration(decoded)
            mono = frames.mean(axis=1, dtype=np.float32)
            if not np.isfinite(mono).all():
                raise InvalidRequest(f"{self.name} holds samples that are not finite numbers")
            yield np.clip(mono, -1.0, 1.0)
        if not decoded:
            raise InvalidRequest(f"{self.name} holds no audio")
        if self._is_length_known and decoded < self._sound.frames:
            raise InvalidRequest(f"{self.name} is truncated: expected {self._sound.frames} samples, got {decoded}")

    def _read(self) -> Array:
        block = max(1, _BLOCK_FRAMES // self._sound.channels)
        try:
            frames: Array = self._sound.read(block, dtype="float32", always_2d=True)
        except RuntimeError as error:
            raise InvalidRequest(f"{self.name} is damaged or truncated: {_reason(error)}") from None
        return frames

    def _check_header(self) -> None:
        sound = self._sound
        if sound.format not in FORMATS:
            raise InvalidRequest(f"{self.name}: expected {', '.join(FORMATS).lower()}, got {sound.format.lower()}")
        if not MIN_RATE <= sound.samplerate <= _MAX_FILE_RATE:
            expected = f"expected a sample rate from {MIN_RATE} to {_MAX_FILE_RATE} Hz"
            raise InvalidRequest(f"{self.name}: {expected}, got {sound.samplerate}")
        if sound.channels > _MAX_CHANNELS:
            raise InvalidRequest(f"{self.name}: expected at most {_MAX_CHANNELS} channels, got {sound.channels}")
        if sound.format == "MP3":
            self._is_length_known = _has_mp3_length(self._stream)
        if self._is_length_known:
            self._check_duration(sound.frames)

    def _check_duration(self, frames: int) -> None:
        if frames > self._limit_s * self._sound.samplerate:
            raise MessageTooLarge(f"{self.name} is longer than the limit of {self._limit_s:g} s")


def open_audio(path: Path, max_duration_s: float = MAX_DURATION_S) -> AudioFile:
    """Open an audio file by path; raises `InvalidRequest` if it cannot be read or is not audio."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidRequest(f"cannot open {path.name}: {(error.strerror or 'unreadable').lower()}") from None
    if not stream.seekable():
        stream.close()
        raise InvalidRequest(f"cannot open {path.name}: expected a file, got a pipe")
    return AudioFile(stream, path.name, max_duration_s)


def open_upload(data: bytes, name: str = "upload", max_duration_s: float = MAX_DURATION_S) -> AudioFile:
    """Open the bytes of an audio file; raises `InvalidRequest` if they are not audio."""
    return AudioFile(io.BytesIO(data), name, max_duration_s)


def read_pcm(stream: BinaryIO, encoding: str, block_samples: int) -> Iterator[bytes]:
    """Read raw PCM from a pipe as blocks of `block_samples` samples; the last one may be shorter.

    A pipe may hand out less than it was asked for; blocks are always whole samples. Raises `InvalidRequest` when the
    input cannot be read or ends inside a sample.
    """
    wanted = block_samples * bytes_per_sample(encoding)
    pending = b""
    while data := _read_some(stream, wanted - len(pending)):
        pending += data
        if len(pending) == wanted:
            yield pending
            pending = b""
    if pending:
        count_samples(len(pending), encoding)
        yield pending


def _read_some(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        raise InvalidRequest(f"cannot read: {(error.strerror or 'unreadable').lower()}") from None


def _open_sound(stream: BinaryIO, name: str) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(stream)
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


def _not_empty(block: Array) -> Iterator[Array]:
    if len(block):
        # soxr may overshoot a full-scale signal.
        yield np.clip(block, -1.0, 1.0)
