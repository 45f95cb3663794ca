"""Streams of an in-process host: the path of live streams, scheduled as files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from streamer.errors import StreamerError
from streamer.host.reading import read_ahead
from streamer.session.messages import Audio, ClientMessage, Config, End, ServerMessage, Text

if TYPE_CHECKING:
    from streamer.host import Host, Stream


T = TypeVar("T")


async def answers(
    host: Host, config: Config, frames: Generator[bytes, None, None], fed: Callable[[bytes], None]
) -> AsyncGenerator[ServerMessage, None]:
    """Send a stream of `frames`, which may block, and yield what the host says; `fed` is told of each frame.

    Raises the `StreamerError` of reading the frames or of the stream. Close it in any case.
    """
    said = _exchange(host, config, frames, Audio, fed)
    async with aclosing(said):
        async for message in said:
            yield message


async def speech(
    host: Host, config: Config, parts: Generator[str, None, None], sent: Callable[[str], None]
) -> AsyncGenerator[ServerMessage, None]:
    """Send a stream of text in `parts`, which may block, and yield what the host says. See `answers`."""
    said = _exchange(host, config, parts, Text, sent)
    async with aclosing(said):
        async for message in said:
            yield message


async def _exchange(
    host: Host,
    config: Config,
    items: Generator[T, None, None],
    message_of: Callable[[T], ClientMessage],
    fed: Callable[[T], None],
) -> AsyncGenerator[ServerMessage, None]:
    stream = host.connect()
    sender = asyncio.create_task(_send(stream, config, items, message_of, fed))
    try:
        while (message := await stream.receive()) is not None:
            yield message
        await sender
    finally:
        sender.cancel()
        stream.abort()
        await asyncio.gather(sender, return_exceptions=True)


async def run_jobs(
    inputs: Iterable[T],
    jobs: int,
    work: Callable[[T], Awaitable[None]],
    failed: Callable[[T, str], None],
) -> None:
    """Do `work` for all `inputs`, `jobs` at a time so that they share batches; one that fails stops no other."""
    remaining = iter(inputs)
    tasks = [asyncio.create_task(_work_off(remaining, work, failed)) for _ in range(jobs)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _work_off(
    remaining: Iterator[T], work: Callable[[T], Awaitable[None]], failed: Callable[[T, str], None]
) -> None:
    for item in remaining:
        try:
            await work(item)
        except StreamerError as error:
            failed(item, str(error))


async def _send(
    stream: Stream,
    config: Config,
    items: Generator[T, None, None],
    message_of: Callable[[T], ClientMessage],
    fed: Callable[[T], None],
) -> None:
    try:
        await stream.send(config)
        async with aclosing(read_ahead(items)) as ahead:
            async for item in ahead:
                await stream.send(message_of(item))
                fed(item)
        await stream.send(End())
    except Exception:
        # The input is damaged, or this is a bug: end the stream, so that whoever receives is not left waiting.
        stream.abort()
        raise
