"""Transcribes files through an in-process host: the path of live streams, scheduled as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.cli.in_process import answers, run_jobs
from streamer.cli.inputs import Input
from streamer.cli.source import RawFormat, Source, open_source, seconds
from streamer.session.messages import Config, Decoding, Done, Ready, Result, ServerMessage
from streamer.transcripts.transcript import Segment, Transcript, by_channel, segments_of

if TYPE_CHECKING:
    from streamer.host import Host


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What the caller wants to know while files are transcribed; called on the event loop."""

    opened: Callable[[Input, float | None], None] = _ignore
    """An input was opened; its length in seconds if known."""
    fed: Callable[[float], None] = _ignore
    """So many seconds of audio were handed to the host."""
    segment: Callable[[Input, Segment], None] = _ignore
    """A segment is final."""
    done: Callable[[Input, Transcript], None] = _ignore
    """An input is done."""
    failed: Callable[[Input, str], None] = _ignore
    """An input failed, and why."""


@dataclass(slots=True)
class Batch:
    """One run over several inputs, `jobs` at a time so that they share the model's batches."""

    host: Host
    model: str = ""
    language: str = ""
    raw: RawFormat | None = None
    listener: Listener = field(default_factory=Listener)
    decoding: Decoding = field(default_factory=Decoding)
    per_channel: bool = False

    async def run(self, inputs: Iterable[Input], jobs: int) -> None:
        """Transcribe all `inputs`; one that fails is told to the listener and stops no other."""
        await run_jobs(inputs, jobs, self._work, self.listener.failed)

    async def _work(self, item: Input) -> None:
        self.listener.done(item, await self.transcribe(item))

    async def transcribe(self, item: Input) -> Transcript:
        """Transcribe one input; raises the `StreamerError` of reading it or of its stream."""
        if not self.per_channel:
            return await self._transcribe(item, open_source(item, self.raw))
        # Decoded once per channel: decoding costs little, and a channel that waits for another would need a buffer.
        source = open_source(item, self.raw, 0)
        transcripts = [await self._transcribe(item, source)]
        for channel in range(1, source.channels):
            transcripts.append(await self._transcribe(item, open_source(item, self.raw, channel)))
        return by_channel(transcripts)

    async def _transcribe(self, item: Input, source: Source) -> Transcript:
        self.listener.opened(item, source.duration_s)
        config = Config(
            source.encoding,
            source.rate,
            channels=1,
            model=self.model,
            mode="file",
            language=self.language,
            interim_results=False,
            decoding=self.decoding,
        )
        messages = []
        said = answers(self.host, config, source.frames, lambda frame: self.listener.fed(seconds(frame, source)))
        async with aclosing(said):
            async for message in said:
                messages.append(message)
                self._tell(item, message, source.rate)
        return _transcript(item, messages, source.rate)

    def _tell(self, item: Input, message: ServerMessage, rate: int) -> None:
        if isinstance(message, Result):
            for segment in segments_of([message], rate):
                self.listener.segment(item, segment)


def _transcript(item: Input, messages: list[ServerMessage], rate: int) -> Transcript:
    ready = next(message for message in messages if isinstance(message, Ready))
    done = next(message for message in messages if isinstance(message, Done))
    results = [message for message in messages if isinstance(message, Result)]
    return Transcript(item.name, done.audio_samples / rate, ready.model, segments_of(results, rate))
