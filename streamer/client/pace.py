"""Plays PCM to a stream as fast as a microphone would, and notes when each answer came."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from streamer.client.formats import frame_bytes
from streamer.client.stream import ClientStream
from streamer.session.messages import Config, Result, ServerMessage


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message and when it came, in seconds of the clock."""

    message: ServerMessage
    at: float


@dataclass(slots=True)
class Recording:
    """What came back, and when each sample went out."""

    arrivals: list[Arrival] = field(default_factory=list)
    sent_samples: list[int] = field(default_factory=list)
    """Samples sent so far, after each frame."""
    sent_at: list[float] = field(default_factory=list)
    """When each frame went out."""

    def lag_s(self, arrival: Arrival) -> float:
        """Seconds from sending the last sample of a `Result` to its arrival."""
        if not isinstance(arrival.message, Result):
            raise TypeError(f"expected a result, got {type(arrival.message).__name__}")
        frame = bisect_left(self.sent_samples, arrival.message.end_sample)
        return arrival.at - self.sent_at[min(frame, len(self.sent_at) - 1)]


async def stream_file(
    stream: ClientStream,
    pcm: bytes,
    config: Config,
    *,
    frame_ms: float = 40.0,
    speed: float | None = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Recording:
    """Send `pcm` in the format of `config`, then `End`; returns after `Done` with all that came.

    A frame leaves when a microphone would have its last sample. `speed` is a factor of real time; None sends as fast
    as the server takes it. Raises the error that ended the stream.
    """
    recording = Recording()
    sender = asyncio.create_task(_play(stream, _frames(pcm, config, frame_ms), recording, _Pace(speed, clock, sleep)))
    try:
        async for message in stream:
            recording.arrivals.append(Arrival(message, clock()))
        await sender
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
    return recording


@dataclass(frozen=True, slots=True)
class _Frame:
    data: bytes
    # Where the frame ends, from the start of the audio.
    end_sample: int
    end_s: float


class _Pace:
    """Waits until audio of a given position would have been captured."""

    def __init__(
        self, speed: float | None, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._speed = speed
        self._sleep = sleep
        self._started = clock()
        self.clock = clock

    async def until(self, audio_s: float) -> None:
        if self._speed is not None:
            await self._sleep(max(0.0, self._started + audio_s / self._speed - self.clock()))


def _frames(pcm: bytes, config: Config, frame_ms: float) -> Iterator[_Frame]:
    sample_bytes = frame_bytes(config)
    size = max(1, round(config.sample_rate * frame_ms / 1000)) * sample_bytes
    for start in range(0, len(pcm), size):
        data = pcm[start : start + size]
        end_sample = (start + len(data)) // sample_bytes
        yield _Frame(data, end_sample, end_sample / config.sample_rate)


async def _play(stream: ClientStream, frames: Iterator[_Frame], recording: Recording, pace: _Pace) -> None:
    for frame in frames:
        await pace.until(frame.end_s)
        await stream.send(frame.data)
        recording.sent_samples.append(frame.end_sample)
        recording.sent_at.append(pace.clock())
    await stream.end()
