"""An hour of speech through the shipped recogniser: memory and lag stay flat, and times are right at the end."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

import numpy as np
import pytest

from streamer.audio.files import open_audio
from streamer.cli.process_stats import memory_mb
from streamer.cli.server_process import running_server
from streamer.client import ClientStream, connect
from streamer.session.messages import Config, Result, Word

CLIPS = Path(__file__).parent.parent / "samples"
RATE = 16_000
HOUR_S = 3600
# An hour takes three minutes. One stream at twenty times real time loads the server like twenty live ones.
SPEED = 20.0
FRAME_S = 0.1
TENTHS = 10
CONFIG = Config("pcm_s16le", RATE, 1, mode="file", interim_results=True)


def period() -> np.ndarray:
    """Three clips with pauses long enough to end a segment: int16, a whole number of seconds and of model chunks."""
    pause = np.zeros(2 * RATE, np.float32)
    parts = []
    for clip in sorted(CLIPS.glob("*.flac")):
        with open_audio(clip) as audio:
            parts += [*audio.blocks(), pause]
    sound = np.concatenate(parts)
    whole = 8 * RATE  # 25 chunks of 320 ms
    padded = np.pad(sound, (0, -len(sound) % whole))
    return np.round(padded * 32767).astype(np.int16)


class Hour:
    """Plays the period for an hour and notes, by tenth of the hour, lags and the server's memory."""

    def __init__(self, stream: ClientStream, pid: int) -> None:
        self.stream = stream
        self.pid = pid
        self.sent_at: list[float] = []
        self.words: list[Word] = []
        self.lags: list[list[float]] = [[] for _ in range(TENTHS)]
        self.memory: list[float] = []

    async def play(self, sound: np.ndarray) -> None:
        loop, frame = asyncio.get_running_loop(), round(FRAME_S * RATE)
        frames = [part.tobytes() for part in np.split(sound, len(sound) // frame)]
        began = loop.time()
        for index in range(HOUR_S * RATE // frame):
            await asyncio.sleep(max(0.0, began + (index + 1) * FRAME_S / SPEED - loop.time()))
            await self.stream.send(frames[index % len(frames)])
            self.sent_at.append(loop.time())
            if (index + 1) % (HOUR_S * RATE // frame // TENTHS) == 0:
                self.memory.append((memory_mb(self.pid) or (0.0, 0.0))[0])
        await self.stream.end()

    async def listen(self) -> None:
        loop, frame = asyncio.get_running_loop(), round(FRAME_S * RATE)
        async for message in self.stream:
            if isinstance(message, Result):
                last = min(message.end_sample // frame, len(self.sent_at) - 1)
                self.lags[min(TENTHS - 1, last * TENTHS * frame // (HOUR_S * RATE))].append(
                    loop.time() - self.sent_at[last]
                )
                self.words += message.words if message.is_final else ()


def words_between(words: list[Word], start: int, end: int) -> list[tuple[str, int, int]]:
    """Words that start in [start, end), with times from `start`."""
    return [
        (word.word, word.start_sample - start, word.end_sample - start)
        for word in words
        if start <= word.start_sample < end
    ]


@pytest.mark.soak
def test_an_hour_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The last full period has the words and times of the second one; memory and lag are those of the first tenth."""
    sound = period()

    async def run() -> Hour:
        with running_server(["--workers", "1"]) as server:
            async with connect(server.grpc, CONFIG) as stream:
                hour = Hour(stream, server.pid)
                await asyncio.gather(hour.play(sound), hour.listen())
                return hour

    hour = asyncio.run(run())
    lags = [1000 * statistics.median(lags) for lags in hour.lags]
    with capsys.disabled():
        print(f"\nresident MB by tenth of the hour: {', '.join(f'{mb:.0f}' for mb in hour.memory)}")  # noqa: T201
        print(f"median lag in ms by tenth of the hour: {', '.join(f'{lag:.0f}' for lag in lags)}")  # noqa: T201
    count = HOUR_S * RATE // len(sound)
    second = words_between(hour.words, len(sound), 2 * len(sound))
    last = words_between(hour.words, (count - 1) * len(sound), count * len(sound))
    assert len(second) > 10
    assert last == second
    assert hour.memory[0] > 0
    assert max(hour.memory[1:]) - hour.memory[0] < 8
    assert max(lags[1:]) < 1.5 * lags[0] + 20
