"""Everything that a server answers to a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from streamer.client.stream import ClientStream
from streamer.session.messages import Done, ServerMessage

_M = TypeVar("_M")


async def exchange(stream: ClientStream, blocks: Iterator[bytes]) -> list[ServerMessage]:
    """Send `blocks`, taken on a thread, and `End`; return all messages, the last of them `Done`.

    Raises what ends the stream, what reading raises, and `ConnectionError` if the stream ends without `Done`.
    """
    sender = asyncio.create_task(_send(stream, blocks))
    messages = asyncio.create_task(_messages(stream))
    try:
        await asyncio.wait((sender, messages), return_when=asyncio.FIRST_COMPLETED)
        if not messages.done():
            # A file that cannot be read ends everything.
            sender.result()
        return await messages
    finally:
        sender.cancel()
        messages.cancel()
        await asyncio.gather(sender, messages, return_exceptions=True)


def of_kind(kind: type[_M], messages: list[ServerMessage]) -> list[_M]:
    """Return the messages of one kind."""
    return [message for message in messages if isinstance(message, kind)]


async def _messages(stream: ClientStream) -> list[ServerMessage]:
    messages = [message async for message in stream]
    if not messages or not isinstance(messages[-1], Done):
        raise ConnectionError("expected done at the end of the stream, got nothing")
    return messages


async def _send(stream: ClientStream, blocks: Iterator[bytes]) -> None:
    async for block in _on_thread(blocks):
        await stream.send(block)
    await stream.end()


async def _on_thread(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Take blocks on a thread: reading a file blocks."""
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block
