"""Runs files through a codec of an in-process host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.audio.pcm import bytes_per_sample
from streamer.cli.codec_sinks import Cut, Sink
from streamer.cli.codec_sources import PacketSource
from streamer.cli.in_process import answers
from streamer.cli.inputs import Input
from streamer.cli.progress import BatchProgress, complain
from streamer.cli.source import Source
from streamer.session.messages import AudioOut, CodecOptions, Config, Packets, Ready, ServerMessage, Warning

if TYPE_CHECKING:
    from streamer.host import Host

TASK = "codec"


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is done to each input. `codec.output` is set."""

    open_source: Callable[[Input], Source]
    open_sink: Callable[[Input], AbstractContextManager[Sink]]
    codec: CodecOptions
    model: str


async def convert(host: Host, item: Input, conversion: Conversion, progress: BatchProgress) -> None:
    """Send an input through a stream of its own; raises the `StreamerError` of reading, coding or writing it."""
    codec = conversion.codec
    # The sink first: what has been opened to be read is closed by reading it.
    with conversion.open_sink(item) as sink:
        source = conversion.open_source(item)
        progress.opened(source.duration_s)
        config = Config(source.encoding, source.rate, 1, task=TASK, model=conversion.model, mode="file", codec=codec)
        if isinstance(source, PacketSource) and source.discard_samples:
            sink = Cut(sink, codec.output, source.discard_samples, source.rate)
        said = answers(host, config, source.frames, lambda _: None)
        async with aclosing(said):
            async for message in said:
                await _take(message, config, sink, progress)
                if isinstance(message, Warning):
                    complain(item.name, message.message)
        await asyncio.to_thread(sink.finish)
    progress.finished()


async def _take(message: ServerMessage, config: Config, sink: Sink, progress: BatchProgress) -> None:
    """Pass on what belongs into the output. Writing may block, and the loop has other streams."""
    match message:
        case Ready():
            await asyncio.to_thread(sink.begin, config.codec.output_rate or message.model_rate)
        case Packets():
            progress.fed(message.samples / config.sample_rate)
            await asyncio.to_thread(sink.take, message.data)
        case AudioOut():
            # Packets have the rate of the model.
            rate = config.codec.output_rate or config.sample_rate
            progress.fed(len(message.data) / bytes_per_sample(config.codec.output) / rate)
            await asyncio.to_thread(sink.take, message.data)
