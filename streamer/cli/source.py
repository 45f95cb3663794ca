"""Opens what is to be transcribed as blocks of PCM."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from dataclasses import dataclass

from streamer.audio.encodings import check_format
from streamer.audio.files import AudioFile, open_audio, read_pcm
from streamer.audio.pcm import bytes_per_sample
from streamer.cli.inputs import Input
from streamer.errors import InvalidRequest

# Short enough for any frame limit that is not meant to refuse speech, and for text to follow a live pipe closely.
_FRAME_S = 0.1


@dataclass(frozen=True, slots=True)
class RawFormat:
    """The format of PCM on standard input, which nothing in the data tells."""

    encoding: str
    rate: int


@dataclass(frozen=True, slots=True)
class Source:
    """Open audio: `frames` are PCM in `encoding`. `duration_s` is what a header says, None if none does."""

    encoding: str
    rate: int
    duration_s: float | None
    frames: Generator[bytes, None, None]
    channels: int = 1


def open_source(item: Input, raw: RawFormat | None, channel: int | None = None) -> Source:
    """Open an input; `raw` is the format of standard input, `channel` the one to read, from 0, None for their average.

    Raises `InvalidRequest`, also while frames are read.

    The file is closed with its frames, by the thread that reads them: nobody may close it under a decoder at work.
    """
    if item.path is None:
        assert raw is not None  # the command line demands it
        return _standard_input(raw)
    audio = open_audio(item.path)
    return Source("pcm_f32le", audio.sample_rate, audio.duration_s, _frames(audio, channel), audio.channels)


def _frames(audio: AudioFile, channel: int | None) -> Generator[bytes, None, None]:
    size = 4 * _frame_samples(audio.sample_rate)
    with audio:
        blocks = audio.blocks() if channel is None else (block[channel] for block in audio.channel_blocks())
        for block in blocks:
            pcm = block.astype("<f4", copy=False).tobytes()
            for start in range(0, len(pcm), size):
                yield pcm[start : start + size]


def _standard_input(raw: RawFormat) -> Source:
    check_format(raw.encoding, raw.rate, 1)
    pipe = open_stdin()
    frames = (frame for frame in read_pcm(pipe, raw.encoding, _frame_samples(raw.rate)))
    return Source(raw.encoding, raw.rate, None, frames)


def open_stdin() -> io.FileIO:
    """Return standard input; raises `InvalidRequest` if it is closed."""
    if sys.stdin is None:
        raise InvalidRequest("standard input is closed")
    # Unbuffered: a thread that waits in a buffered read holds a lock that the exiting interpreter wants.
    pipe = io.FileIO(sys.stdin.fileno(), closefd=False)
    # Whoever made the pipe may have set it not to wait; a read would then find nothing, which means the end.
    os.set_blocking(pipe.fileno(), True)
    return pipe


def _frame_samples(rate: int) -> int:
    return max(1, int(rate * _FRAME_S))


def seconds(frame: bytes, source: Source) -> float:
    """Return how long a frame lasts."""
    return len(frame) / bytes_per_sample(source.encoding) / source.rate
