"""Audio files decoded block by block, with caps on what they decode to and on how long that takes, and raw PCM pipes.

wav, flac, ogg and mp3 by libsndfile; webm and m4a by PyAV, the extra `av`. The first bytes of a file say what it is,
never its name.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import soxr

from streamer.audio.containers import ContainerReader, sniff
from streamer.audio.pcm import MAX_RATE, MIN_RATE, bytes_per_sample, count_samples
from streamer.audio.reader import Reader
from streamer.audio.sound import SoundReader
from streamer.errors import InvalidRequest, MessageTooLarge, StreamTimeout
from streamer.work import Array

MAX_DURATION_S = 4 * 3600.0

_MAX_FILE_RATE = 768_000
_HEAD_BYTES = 16


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one file may cost. `max_decode_s` is time spent decoding, not time that whoever reads takes in between."""

    max_duration_s: float = MAX_DURATION_S
    max_decode_s: float = 300.0
    max_channels: int = 32


class AudioFile:
    """An open audio file: float32 in [-1, 1] at `sample_rate` (the file's own, at most 48 kHz), decoded once.

    Raises `InvalidRequest` for what is not audio, is empty or ends early, `MessageTooLarge` above the limit of its
    length and `StreamTimeout` above that of decoding, measured by `clock`. Floats outside [-1, 1], which lossy codecs
    overshoot to, are clipped. Opening and decoding read files: neither belongs on an event loop.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        limits: UploadLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._limits = limits
        self._clock = clock
        self._spent_s = 0.0
        began = clock()
        self._reader = _open_reader(stream, name)
        try:
            self._spend(began)
            self._check_header()
        except BaseException:
            self.close()
            raise
        self.sample_rate = min(self._reader.sample_rate, MAX_RATE)
        self.channels = self._reader.channels

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be decoded any more."""
        self._reader.close()

    @property
    def duration_s(self) -> float | None:
        """Length that the header tells, not more than a guess for some files; None if it tells nothing."""
        return self._reader.guessed_s

    def blocks(self) -> Iterator[Array]:
        """Decode the file as blocks of mono samples, float32 `[n]`, none of them empty; channels are averaged."""
        return (block[0] for block in self._at_rate(is_mono=True))

    def channel_blocks(self) -> Iterator[Array]:
        """Decode the file as blocks of all its channels, float32 `[channels, n]`, none of them empty."""
        return self._at_rate(is_mono=False)

    def _at_rate(self, is_mono: bool) -> Iterator[Array]:
        rate = self._reader.sample_rate
        decoded = self._decoded(is_mono)
        if rate <= MAX_RATE:
            yield from (np.ascontiguousarray(block.T) for block in decoded)
            return
        channels = 1 if is_mono else self.channels
        down = soxr.ResampleStream(rate, MAX_RATE, channels, dtype="float32")
        for block in decoded:
            yield from _not_empty(down.resample_chunk(block))
        yield from _not_empty(down.resample_chunk(np.zeros((0, channels), np.float32), last=True))

    def _decoded(self, is_mono: bool) -> Iterator[Array]:
        """Decode blocks `[n, channels]`, one channel if `is_mono`, and hold them to the limits."""
        n_decoded = 0
        while len(block := self._read()):
            n_decoded += len(block)
            self._check_duration(n_decoded)
            if is_mono:
                block = block.mean(axis=1, keepdims=True, dtype=np.float32)
            if not np.isfinite(block).all():
                raise InvalidRequest(f"{self.name} holds samples that are not finite numbers")
            yield np.clip(block, -1.0, 1.0)
        expected = self._reader.n_samples
        if not n_decoded:
            raise InvalidRequest(f"{self.name} holds no audio")
        if expected is not None and n_decoded < expected:
            raise InvalidRequest(f"{self.name} is truncated: expected {expected} samples, got {n_decoded}")

    def _read(self) -> Array:
        began = self._clock()
        block = self._reader.read()
        self._spend(began)
        return block

    def _spend(self, began: float) -> None:
        self._spent_s += self._clock() - began
        if self._spent_s > self._limits.max_decode_s:
            raise StreamTimeout(f"decoding {self.name} took longer than the limit of {self._limits.max_decode_s:g} s")

    def _check_header(self) -> None:
        rate, channels = self._reader.sample_rate, self._reader.channels
        if not MIN_RATE <= rate <= _MAX_FILE_RATE:
            expected = f"expected a sample rate from {MIN_RATE} to {_MAX_FILE_RATE} Hz"
            raise InvalidRequest(f"{self.name}: {expected}, got {rate}")
        if channels > self._limits.max_channels:
            most = self._limits.max_channels
            raise InvalidRequest(f"{self.name}: expected at most {most} channels, got {channels}")
        if self._reader.n_samples is not None:
            self._check_duration(self._reader.n_samples)

    def _check_duration(self, n_samples: int) -> None:
        if n_samples > self._limits.max_duration_s * self._reader.sample_rate:
            raise MessageTooLarge(f"{self.name} is longer than the limit of {self._limits.max_duration_s:g} s")


def open_audio(path: Path, limits: UploadLimits | None = None) -> AudioFile:
    """Open an audio file by path; raises `InvalidRequest` if it cannot be read or is not audio.

    The default limits are for whoever runs the command: their own files may take their time.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidRequest(f"cannot open {path.name}: {(error.strerror or 'unreadable').lower()}") from None
    if not stream.seekable():
        stream.close()
        raise InvalidRequest(f"cannot open {path.name}: expected a file, got a pipe")
    return AudioFile(stream, path.name, limits or UploadLimits(max_decode_s=math.inf))


def open_upload(
    source: bytes | BinaryIO,
    name: str = "upload",
    limits: UploadLimits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AudioFile:
    """Open an uploaded audio file: its bytes, or a binary file that can seek, which is closed with it.

    `name` is only for messages. Raises what `AudioFile` raises; a source that fails to open is closed.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    return AudioFile(stream, name, limits or UploadLimits(), clock)


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


def _open_reader(stream: BinaryIO, name: str) -> Reader:
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    kind = sniff(head)
    return SoundReader(stream, name) if kind is None else ContainerReader(stream, name, kind)


def _not_empty(block: Array) -> Iterator[Array]:
    if len(block):
        # soxr may overshoot a full-scale signal.
        yield np.clip(block.T, -1.0, 1.0)
