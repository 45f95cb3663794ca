"""Opens what is to be transcribed as blocks of PCM, read on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass

from streamer.audio.files import AudioFile, open_audio, read_pcm
from streamer.audio.pcm import bytes_per_sample, check_format
from streamer.cli.inputs import Input
from streamer.errors import InvalidRequest

# Short enough for any frame limit that is not meant to refuse speech, and for text to follow a live pipe closely.
_FRAME_S = 0.1
# How far decoding runs ahead of what the host takes.
_AHEAD_FRAMES = 20


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


def open_source(item: Input, raw: RawFormat | None) -> Source:
    """Open an input; `raw` is the format of standard input. Raises `InvalidRequest`, also while frames are read.

    The file is closed with its frames, by the thread that reads them: nobody may close it under a decoder at work.
    """
    if item.path is None:
        assert raw is not None  # the command line demands it
        return _standard_input(raw)
    audio = open_audio(item.path)
    return Source("pcm_f32le", audio.sample_rate, audio.duration_s, _frames(audio))


def _frames(audio: AudioFile) -> Generator[bytes, None, None]:
    size = 4 * _frame_samples(audio.sample_rate)
    with audio:
        for block in audio.blocks():
            pcm = block.astype("<f4", copy=False).tobytes()
            for start in range(0, len(pcm), size):
                yield pcm[start : start + size]


def _standard_input(raw: RawFormat) -> Source:
    check_format(raw.encoding, raw.rate, 1)
    if sys.stdin is None:
        raise InvalidRequest("standard input is closed")
    # Unbuffered: a thread that waits in a buffered read holds a lock that the exiting interpreter wants.
    pipe = io.FileIO(sys.stdin.fileno(), closefd=False)
    # Whoever made the pipe may have set it not to wait; a read would then find nothing, which means the end.
    os.set_blocking(pipe.fileno(), True)
    frames = (frame for frame in read_pcm(pipe, raw.encoding, _frame_samples(raw.rate)))
    return Source(raw.encoding, raw.rate, None, frames)


def _frame_samples(rate: int) -> int:
    return max(1, int(rate * _FRAME_S))


def seconds(frame: bytes, source: Source) -> float:
    """Return how long a frame lasts."""
    return len(frame) / bytes_per_sample(source.encoding) / source.rate


async def read_ahead(frames: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """Iterate over `frames` on a daemon thread, a little ahead, so that decoding never blocks the loop.

    It is a daemon so that a pipe on which nothing comes cannot hold up the end of the program.
    """
    reader = _Reader(frames)
    threading.Thread(target=reader.run, name="streamer-read", daemon=True).start()
    try:
        while (frame := await reader.next()) is not None:
            yield frame
    finally:
        reader.stop()


class _Reader:
    """Carries frames from a thread to the event loop that made it, at most `_AHEAD_FRAMES` at a time."""

    def __init__(self, frames: Generator[bytes, None, None]) -> None:
        self._frames = frames
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD_FRAMES)
        self._stopped = False

    async def next(self) -> bytes | None:
        frame = await self._queue.get()
        self._room.release()
        if isinstance(frame, Exception):
            raise frame
        return frame

    def stop(self) -> None:
        self._stopped = True
        self._room.release()

    def run(self) -> None:
        last: Exception | None = None
        with contextlib.closing(self._frames):
            try:
                for frame in self._frames:
                    self._room.acquire()
                    if self._stopped:
                        return
                    self._put(frame)
            except Exception as error:
                last = error
        self._put(last)

    def _put(self, frame: bytes | Exception | None) -> None:
        # The loop may be closed by the time a pipe hands out its next frame.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, frame)
