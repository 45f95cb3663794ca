"""Live load: many streams played at the pace of speech, light enough to share the machine with the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.cli.lag import LagMeter
from streamer.cli.ticker import Ticker
from streamer.errors import Draining, Overloaded, StreamerError, wire_code
from streamer.session.messages import Config, Done, Finalized, Flow, Result, ServerMessage

if TYPE_CHECKING:
    from streamer.cli.clips import Clip
    from streamer.client import ClientStream


@dataclass(frozen=True, slots=True)
class Load:
    """What to play: `streams` streams of `duration_s` each, beginning at random within `ramp_s`.

    Every stream plays a clip over and over from a random frame on. `finalize_s` sends `Finalize` that often.
    """

    address: str
    clips: tuple[Clip, ...]
    streams: int
    duration_s: float
    frame_ms: float
    ramp_s: float
    model: str = ""
    finalize_s: float | None = None
    seed: int = 0


@dataclass(slots=True)
class StreamFigures:
    """What one stream saw; all times in seconds."""

    refused: str | None = None
    """Name of the error with which the server did not admit the stream."""
    failed: str | None = None
    """What ended the stream before `Done`."""
    audio_s: float = 0.0
    wall_s: float = 0.0
    """From the first frame sent to `Done`."""
    lags_s: list[float] = field(default_factory=list)
    """Of each interim result; see `streamer.cli.lag`."""
    server_lags_s: list[float] = field(default_factory=list)
    """Of the last step, as the server's `Flow` messages tell once a second."""
    finalisations_s: list[float] = field(default_factory=list)
    """From `Finalize` or `End` sent to `Finalized` or `Done` received."""
    first_result_s: float | None = None
    """From the first frame sent to the first result, which includes the silence before the first word."""


async def play_load(load: Load) -> list[StreamFigures]:
    """Play all streams and return what each saw; raises `ConnectionError` if there is no server at all."""
    ticker = Ticker()
    dice = random.Random(load.seed)
    begin = asyncio.get_running_loop().time() + 0.1
    players = [
        _Player(load, load.clips[index % len(load.clips)], ticker, begin + dice.uniform(0, load.ramp_s), dice.random())
        for index in range(load.streams)
    ]
    await asyncio.gather(*(player.play() for player in players))
    figures = [player.figures for player in players]
    if all(player.lost_connection and not player.admitted for player in players):
        raise ConnectionError(f"no server at {load.address}: {figures[0].failed}")
    return figures


class _Player:
    """One stream."""

    def __init__(self, load: Load, clip: Clip, ticker: Ticker, start: float, phase: float) -> None:
        self.figures = StreamFigures()
        self.admitted = False
        self.lost_connection = False
        self._load = load
        self._clip = clip
        self._ticker = ticker
        self._start = start
        self._frames = clip.frames(load.frame_ms)
        self._first = int(phase * len(self._frames))
        self._clock = asyncio.get_running_loop().time
        # When each `Finalize` still unanswered, or `End`, was sent.
        self._pending: dict[str, float] = {}
        self._ended_at: float | None = None

    async def play(self) -> None:
        from streamer.client import connect

        clip = self._clip
        config = Config(clip.encoding, clip.rate, clip.channels, model=self._load.model)
        await self._ticker.until(self._start)
        try:
            async with connect(self._load.address, config) as stream:
                self.admitted = True
                await self._run(stream)
        except (Overloaded, Draining) as error:
            self._note(error, wire_code(error).name)
        except (StreamerError, OSError) as error:
            self.lost_connection = isinstance(error, OSError)
            self._note(error, None)

    def _note(self, error: Exception, refusal: str | None) -> None:
        if refusal is not None and not self.admitted:
            self.figures.refused = refusal
        else:
            self.figures.failed = str(error)

    async def _run(self, stream: ClientStream) -> None:
        meter = LagMeter(stream.ready)
        began = self._clock()
        sender = asyncio.create_task(self._send(stream, meter, began))
        try:
            async for message in stream:
                self._take(message, meter, began)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, stream: ClientStream, meter: LagMeter, began: float) -> None:
        frame_s = self._load.frame_ms / 1000
        n_frames = max(1, round(self._load.duration_s / frame_s))
        marks = self._marks(n_frames)
        for index in range(n_frames):
            # A frame leaves when a microphone would have its last sample.
            await self._ticker.until(began + (index + 1) * frame_s)
            data = self._frames[(self._first + index) % len(self._frames)]
            meter.sent(len(data) // self._clip.sample_bytes, self._clock())
            await stream.send(data)
            if index in marks:
                self._pending[str(index)] = self._clock()
                await stream.finalize(str(index))
        self._ended_at = self._clock()
        await stream.end()

    def _marks(self, n_frames: int) -> range:
        if self._load.finalize_s is None:
            return range(0)
        step = max(1, round(1000 * self._load.finalize_s / self._load.frame_ms))
        return range(step, n_frames - 1, step)

    def _take(self, message: ServerMessage, meter: LagMeter, began: float) -> None:
        now = self._clock()
        figures = self.figures
        lag = meter.received(message, now)
        if lag is not None:
            figures.lags_s.append(lag)
        if isinstance(message, Result) and figures.first_result_s is None:
            figures.first_result_s = now - began
        elif isinstance(message, Flow):
            figures.server_lags_s.append(message.lag_ms / 1000)
        elif isinstance(message, Finalized) and message.id in self._pending:
            figures.finalisations_s.append(now - self._pending.pop(message.id))
        elif isinstance(message, Done):
            self._finish(message, now, began)

    def _finish(self, done: Done, now: float, began: float) -> None:
        self.figures.audio_s = done.audio_samples / self._clip.rate
        self.figures.wall_s = now - began
        if self._ended_at is not None:
            self.figures.finalisations_s.append(now - self._ended_at)


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return p50, p95, p99 and the maximum in milliseconds, by nearest rank; None of nothing."""
    if not seconds:
        return None
    ranked = sorted(seconds)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * ranked[_rank(share, len(ranked))], 1) for name, share in ranks.items()}


def _rank(share: float, count: int) -> int:
    # The smallest value that at least this share of all values does not exceed; integers avoid 0.95 * 20 > 19.
    return max(0, -(-round(share * 100) * count // 100) - 1)
