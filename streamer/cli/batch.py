"""Transcribes files through an in-process host: the path of live streams, scheduled as files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.cli.inputs import Input
from streamer.cli.source import RawFormat, Source, open_source, seconds
from streamer.errors import StreamerError
from streamer.host.reading import read_ahead
from streamer.session.messages import Audio, Config, Decoding, Done, End, Ready, Result, ServerMessage
from streamer.transcripts.transcript import Segment, Transcript, by_channel, segments_of

if TYPE_CHECKING:
    from streamer.host import Host, Stream


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
        remaining = iter(inputs)
        tasks = [asyncio.create_task(self._work(remaining)) for _ in range(jobs)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, remaining: Iterator[Input]) -> None:
        for item in remaining:
            try:
                transcript = await self.transcribe(item)
                self.listener.done(item, transcript)
            except StreamerError as error:
                self.listener.failed(item, str(error))

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
        stream = self.host.connect()
        sender = asyncio.create_task(self._send(stream, source))
        try:
            messages = [message async for message in self._received(stream, item, source.rate)]
            await sender
        finally:
            sender.cancel()
            stream.abort()
            await asyncio.gather(sender, return_exceptions=True)
        return _transcript(item, messages, source.rate)

    async def _send(self, stream: Stream, source: Source) -> None:
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
        try:
            await stream.send(config)
            async with aclosing(read_ahead(source.frames)) as frames:
                async for frame in frames:
                    await stream.send(Audio(frame))
                    self.listener.fed(seconds(frame, source))
            await stream.send(End())
        except Exception:
            # The input is damaged, or this is a bug: end the stream, so that whoever receives is not left waiting.
            stream.abort()
            raise

    async def _received(self, stream: Stream, item: Input, rate: int) -> AsyncIterator[ServerMessage]:
        while (message := await stream.receive()) is not None:
            if isinstance(message, Result):
                for segment in segments_of([message], rate):
                    self.listener.segment(item, segment)
            yield message


def _transcript(item: Input, messages: list[ServerMessage], rate: int) -> Transcript:
    ready = next(message for message in messages if isinstance(message, Ready))
    done = next(message for message in messages if isinstance(message, Done))
    results = [message for message in messages if isinstance(message, Result)]
    return Transcript(item.name, done.audio_samples / rate, ready.model, segments_of(results, rate))
