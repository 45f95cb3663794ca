"""Text to speech: text as it comes, audio and the places of its words back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from streamer.client.access import Tls
from streamer.client.codec import Sound
from streamer.client.formats import TEXT
from streamer.client.stream import ClientStream, check_url, connect
from streamer.session.messages import AudioOut, Config, Spoken, SynthesisOptions

SYNTHESIS_TASK = "synthesize"
DEFAULT_RATE = 24_000
TextSource = str | Iterable[str] | AsyncIterable[str]
"""A text, or parts of one as they come, cut anywhere."""

# Well within what a server takes in one message.
_PART = 4000


def speech_config(
    options: SynthesisOptions, sample_rate: int = DEFAULT_RATE, *, model: str = "", mode: str = "file"
) -> Config:
    """Return the config of a stream that speaks with `options`, in samples at `sample_rate` (Hz)."""
    return Config(TEXT, sample_rate, 1, task=SYNTHESIS_TASK, model=model, mode=mode, synthesis=options)


async def synthesize(
    url: str,
    text: TextSource,
    options: SynthesisOptions = SynthesisOptions(),  # noqa: B008 - frozen
    *,
    sample_rate: int = DEFAULT_RATE,
    model: str = "",
    mode: str = "file",
    api_key: str | None = None,
    tls: Tls = Tls(),  # noqa: B008 - frozen
) -> AsyncIterator[AudioOut | Spoken]:
    """Yield the audio of `text` while it is made, and before it, with `options.word_times`, where its words are.

    Audio is mono PCM in `options.output_encoding` (16 bit if empty) at `sample_rate`. Text may come as slowly as it is
    written: an iterator that blocks is taken on a thread. `mode="live"` has the server make audio no more than some
    seconds ahead of playback, `"file"` as fast as it can. `model` is a name, or `name@version`, empty for the server's
    default.

    Raises `InvalidRequest` for text and options that the server refuses, `ConnectionError`, and what `text` raises.
    """
    check_url(url)
    config = speech_config(options, sample_rate, model=model, mode=mode)
    async with connect(url, config, api_key=api_key, tls=tls) as stream:
        sender = asyncio.create_task(say_all(stream, text))
        try:
            while (message := await _next(stream, sender)) is not None:
                if isinstance(message, AudioOut | Spoken):
                    yield message
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)


async def speak(
    url: str,
    text: TextSource,
    options: SynthesisOptions = SynthesisOptions(),  # noqa: B008 - frozen
    *,
    sample_rate: int = DEFAULT_RATE,
    model: str = "",
    api_key: str | None = None,
    tls: Tls = Tls(),  # noqa: B008 - frozen
) -> Sound:
    """Return all audio of `text`. Raises as `synthesize` does."""
    spoken = synthesize(url, text, options, sample_rate=sample_rate, model=model, api_key=api_key, tls=tls)
    data = [message.data async for message in spoken if isinstance(message, AudioOut)]
    return Sound(b"".join(data), options.output_encoding or "pcm_s16le", sample_rate)


async def say_all(stream: ClientStream, text: TextSource) -> None:
    """Send `text` and `End`."""
    async for part in parts_of(text):
        for start in range(0, len(part), _PART):
            await stream.say(part[start : start + _PART])
    await stream.end()


async def parts_of(text: TextSource) -> AsyncIterator[str]:
    """Yield the parts of a text as they come; those of an iterable that may block are taken on a thread."""
    if isinstance(text, str):
        yield text
    elif isinstance(text, AsyncIterable):
        async for part in text:
            yield part
    else:
        parts = iter(text)
        while (taken := await asyncio.to_thread(_take, parts)) is not None:
            yield taken


def _take(parts: Iterator[str]) -> str | None:
    return next(parts, None)


async def _next(stream: ClientStream, sender: asyncio.Task[None]) -> object:
    """Return the next message, None after the last one; raises what ends the stream, or what the text raises."""
    receiving = asyncio.ensure_future(stream.receive())
    try:
        if not sender.done():
            await asyncio.wait((receiving, sender), return_when=asyncio.FIRST_COMPLETED)
        if sender.done() and not receiving.done():
            # Text that cannot be read ends everything.
            sender.result()
        return await receiving
    finally:
        receiving.cancel()
