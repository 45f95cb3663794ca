"""One stream of the host on behalf of a request over HTTP: its messages, while something is sent into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from streamer.gateway.relay import Incoming, relay
from streamer.session.messages import ServerMessage

if TYPE_CHECKING:
    from streamer.host import Stream

# Messages that whoever answers the client has not taken yet; the rest waits in the host, which has limits of its own.
_UNREAD = 16


class Conversation:
    """A stream that is given `incoming`; its messages are iterated over once. Close it in any case."""

    def __init__(self, stream: Stream, incoming: Incoming, write_timeout_s: float) -> None:
        self._messages: asyncio.Queue[ServerMessage | Exception | None] = asyncio.Queue(_UNREAD)
        self._running = asyncio.create_task(self._run(stream, incoming, write_timeout_s))

    async def __aiter__(self) -> AsyncIterator[ServerMessage]:
        """Yield the messages of the stream; raises what ended it, unless it ended well."""
        while (message := await self._messages.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    async def close(self) -> None:
        """Free the slot, whether the stream has ended or not."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self, stream: Stream, incoming: Incoming, write_timeout_s: float) -> None:
        last: Exception | None = None
        try:
            await relay(stream, incoming, self._messages.put, write_timeout_s)
        except Exception as error:
            # Also of a bug: whoever answers the client says so, and logs it.
            last = error
        await self._messages.put(last)
