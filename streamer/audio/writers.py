"""Audio files, written while their sound is made: libsndfile's formats, and AAC through the optional package PyAV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
import soundfile

from streamer.audio.extra import require_av
from streamer.errors import InvalidRequest

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
_MPEG_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# Where an Ogg page ends decides when a listener gets it: libsndfile's default is a second of sound.
_SET_OGG_PAGE_LATENCY_MS, _PAGE_MS = 0x1302, 200.0
_AAC_BITRATE = 64_000


@dataclass(frozen=True, slots=True)
class _Format:
    """What libsndfile calls a format; `rates` are those that it takes, empty for any."""

    container: str
    subtype: str
    rates: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


_SNDFILE = {
    "wav": _Format("WAV", "PCM_16"),
    "flac": _Format("FLAC", "PCM_16"),
    "vorbis": _Format("OGG", "VORBIS"),
    "opus": _Format("OGG", "OPUS", _OPUS_RATES),
    # A constant rate, 96 kbit/s at 24 kHz: players guess length and places of a file without index by it.
    "mp3": _Format("MP3", "MPEG_LAYER_III", _MPEG_RATES, {"bitrate_mode": "CONSTANT", "compression_level": 0.4}),
}
AAC = "aac"
FORMATS = (*_SNDFILE, AAC)


class Writer(Protocol):
    """Takes mono 16-bit PCM, and writes a file of it."""

    def write(self, pcm: bytes) -> None:
        """Write whole samples, little-endian."""

    def close(self) -> None:
        """Write what only the end knows; the file itself stays open. Idempotent."""


def open_writer(file: BinaryIO, form: str, sample_rate: int) -> Writer:
    """Return what writes `file` in one of the `FORMATS`, of mono sound at `sample_rate` (Hz).

    Raises `InvalidRequest` for a rate that the format does not know, and for `aac` where PyAV is not installed.
    """
    return _AacWriter(file, sample_rate) if form == AAC else _SndfileWriter(file, form, sample_rate)


class _SndfileWriter:
    def __init__(self, file: BinaryIO, form: str, sample_rate: int) -> None:
        wanted = _SNDFILE[form]
        _check_rate(form, wanted.rates, sample_rate)
        self._file: Any = soundfile.SoundFile(
            file, "w", sample_rate, 1, wanted.subtype, format=wanted.container, **wanted.options
        )
        if form == "opus":
            _shorten_pages(self._file)

    def write(self, pcm: bytes) -> None:
        self._file.buffer_write(pcm, "int16")

    def close(self) -> None:
        self._file.close()


class _AacWriter:
    """AAC in ADTS, a container of frames that needs no end."""

    def __init__(self, file: BinaryIO, sample_rate: int) -> None:
        av = require_av("aac")
        _check_rate(AAC, _MPEG_RATES, sample_rate)
        self._container: Any = av.open(file, "w", format="adts")
        self._track: AudioStream = self._container.add_stream("aac", rate=sample_rate)
        self._track.bit_rate, self._track.layout = _AAC_BITRATE, "mono"
        self._track.codec_context.thread_count = 1
        self._frame_of = av.AudioFrame.from_ndarray
        self._sample = 0

    def write(self, pcm: bytes) -> None:
        frame = self._frame_of(np.frombuffer(pcm, "<i2")[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._track.rate, self._sample
        self._sample += frame.samples
        self._container.mux(self._track.encode(frame))

    def close(self) -> None:
        if self._container is None:
            return
        container, self._container = self._container, None
        container.mux(self._track.encode(None))
        container.close()


def _check_rate(form: str, rates: tuple[int, ...], sample_rate: int) -> None:
    if rates and sample_rate not in rates:
        known = ", ".join(map(str, rates))
        raise InvalidRequest(f"{form}: expected a sample rate of {known} Hz, got {sample_rate}")


def _shorten_pages(file: Any) -> None:
    """Have pages of an Ogg file end after `_PAGE_MS`; soundfile has no public way to ask libsndfile for it."""
    value = soundfile._ffi.new("double *", _PAGE_MS)
    soundfile._snd.sf_command(file._file, _SET_OGG_PAGE_LATENCY_MS, value, soundfile._ffi.sizeof("double"))
