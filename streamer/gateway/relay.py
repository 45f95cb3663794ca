"""Carries the messages of one connection to its stream and back; the same for every transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from streamer.errors import SlowReader
from streamer.session.messages import Cancel, ClientMessage, End, ServerMessage

if TYPE_CHECKING:
    from streamer.host import Stream

Incoming = AsyncIterator[ClientMessage]
Write = Callable[[ServerMessage], Awaitable[None]]


class ClientGone(Exception):
    """The connection ended without a goodbye; there is nobody left to tell."""


async def relay(stream: Stream, incoming: Incoming, write: Write, write_timeout_s: float) -> None:
    """Carry messages both ways until the stream has said its last word; raises what ended it otherwise.

    `incoming` raises `InvalidRequest` for bytes that do not parse and `ClientGone`; if it just ends, that counts as
    `End`. A message that cannot be written for `write_timeout_s` ends the stream as `SlowReader`. The stream is free
    when this returns, however it does.
    """
    reader = asyncio.create_task(_feed(stream, incoming))
    writer = asyncio.create_task(_deliver(stream, write, write_timeout_s))
    try:
        await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        if not writer.done():
            reader.result()
        await writer
    finally:
        stream.abort()
        reader.cancel()
        writer.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)


async def _feed(stream: Stream, incoming: Incoming) -> None:
    ended = False
    async for message in incoming:
        ended = ended or isinstance(message, End | Cancel)
        await stream.send(message)
    if not ended:
        await stream.send(End())


async def _deliver(stream: Stream, write: Write, timeout_s: float) -> None:
    while (message := await stream.receive()) is not None:
        try:
            async with asyncio.timeout(timeout_s):
                await write(message)
        except TimeoutError:
            raise SlowReader(f"a result was not taken within {timeout_s:g} s") from None
