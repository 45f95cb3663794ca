"""Files that PyAV decodes: webm (and mkv), m4a (and mp4).

Untrusted bytes meet ffmpeg here, so it is held on a short leash: the container is named and not probed for, only audio
decoders of a short list are ever opened, nothing but the given file can be read, and everything runs on one thread.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import numpy as np

from streamer.audio.extra import require_av
from streamer.audio.frames import samples_of, set_up
from streamer.errors import InvalidRequest
from streamer.work import Array

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import InputContainer

WEBM, MP4 = "webm", "mp4"
# Names of ffmpeg's demuxers.
_DEMUXERS = {WEBM: "matroska", MP4: "mov"}
# Decoders by the name that ffmpeg gives to the codec. Its own Opus decoder is not exact to the sample in SILK mode.
_DECODERS = {"opus": "libopus", "vorbis": "vorbis", "aac": "aac", "mp3": "mp3float", "flac": "flac"}
_OPTIONS = {
    "codec_whitelist": ",".join({*_DECODERS.values(), "opus", "mp3"}),
    "protocol_whitelist": "none",
    "max_streams": "16",
}
_SEGMENT = b"\x18\x53\x80\x67"


def sniff(head: bytes) -> str | None:
    """Return which of the containers begins with these bytes (16 are enough); None for all else."""
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return WEBM
    return MP4 if head[4:8] == b"ftyp" else None


class ContainerReader:
    """A `Reader` over the first audio track of a `webm` or `mp4` file. It owns `stream` and closes it when it raises.

    Raises `InvalidRequest` where PyAV is missing, for other codecs, and for damaged or truncated files.
    """

    def __init__(self, stream: BinaryIO, name: str, kind: str) -> None:
        self._name = name
        self._stream = stream
        self._container: InputContainer | None = None
        try:
            if kind == WEBM:
                _check_webm_end(stream, name)
            with self._decoding():
                self._container = _open(stream, kind)
                self._track = _audio_track(self._container, name)
                self._decoder = _decoder(self._track)
                self._blocks = self._decoded(self._container)
                self._first: Array | None = next(self._blocks, np.zeros((0, 1), np.float32))
        except BaseException:
            self.close()
            raise
        self.sample_rate = self._decoder.sample_rate
        self.channels = self._first.shape[1]
        # Encoder delay and padding are cut off while decoding, so what a header counts is not what comes out.
        self.n_samples: int | None = None
        length = self._container.duration
        self.guessed_s = length / 1_000_000 if length else None

    def read(self) -> Array:
        """Return the next samples, float32 `[n, channels]`; raises `InvalidRequest` when the file is damaged."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        with self._decoding():
            return next(self._blocks, np.zeros((0, self.channels), np.float32))

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._stream.close()

    def _decoded(self, container: InputContainer) -> Iterator[Array]:
        expected = self._track.frames
        n_packets = 0
        rate = None
        for packet in container.demux(self._track):
            n_packets += packet.size > 0
            if packet.is_corrupt:
                raise InvalidRequest(f"{self._name} is damaged or truncated: packet {n_packets} is not whole")
            for frame in self._decoder.decode(packet if packet.size else None):
                block = samples_of(frame)
                shape = (frame.sample_rate, block.shape[1])
                if shape != (rate := rate or shape):
                    raise InvalidRequest(
                        f"{self._name} changes its sample rate or channels on the way: {rate}, {shape}"
                    )
                if len(block):
                    yield block
        if n_packets < expected:
            raise InvalidRequest(f"{self._name} is truncated: expected {expected} packets of audio, got {n_packets}")

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        av = require_av(f"{self._name}: webm or m4a")
        try:
            yield
        except (av.error.FFmpegError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "not decodable"
            raise InvalidRequest(f"{self._name} is damaged or truncated: {str(reason).lower()}") from None


def _open(stream: BinaryIO, kind: str) -> InputContainer:
    av = require_av(kind)
    container: InputContainer = av.open(
        _Nameless(stream),
        "r",
        format=_DEMUXERS[kind],
        container_options=_OPTIONS,
        metadata_errors="replace",
        io_open=_refuse_to_open,
    )
    return container


def _audio_track(container: InputContainer, name: str) -> AudioStream:
    if not container.streams.audio:
        raise InvalidRequest(f"{name} holds no audio")
    track = container.streams.audio[0]
    codec = track.codec_context.codec.canonical_name if track.codec_context else "unknown"
    if codec not in _DECODERS:
        raise InvalidRequest(f"{name}: expected audio in {', '.join(_DECODERS)}, got {codec}")
    return track


def _decoder(track: AudioStream) -> AudioCodecContext:
    av = require_av("webm or m4a")
    decoder: AudioCodecContext = track.codec_context
    if decoder.codec.canonical_name == "opus":
        opus = av.CodecContext.create(_DECODERS["opus"], "r")
        opus.extradata = decoder.extradata
        opus.sample_rate = decoder.sample_rate
        decoder = opus
    set_up(decoder)
    return decoder


def _check_webm_end(stream: BinaryIO, name: str) -> None:
    """Raise `InvalidRequest` when the file ends before its segment does (RFC 8794, 8.1); a live one has no length."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(4)
    header_bytes = _read_length(stream)
    stream.seek(header_bytes or 0, io.SEEK_CUR)
    if stream.read(4) == _SEGMENT:
        size = _read_length(stream)
        got = end - stream.tell()
        if size is not None and got < size:
            raise InvalidRequest(f"{name} is truncated: expected {size} bytes of audio, got {got}")
    stream.seek(0)


def _read_length(stream: BinaryIO) -> int | None:
    """Read the length of an EBML element: one byte and as many as that one has leading zeros; None if unknown."""
    first = (stream.read(1) or b"\0")[0]
    more = 8 - first.bit_length()
    bits = 7 * (more + 1)
    value = int.from_bytes(bytes((first,)) + stream.read(more)) & ((1 << bits) - 1)
    return None if value == (1 << bits) - 1 or not first else value


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a file may not refer to another one")


class _Nameless:
    """A file whose name ffmpeg does not get to know."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = stream.read
        self.seek = stream.seek
        self.tell = stream.tell
