"""The gRPC service `streamer.v1.Synthesis`: streams of the task synthesize."""

from __future__ import annotations

from collections.abc import AsyncIterator

from streamer.errors import InvalidRequest
from streamer.session.messages import ClientMessage, Config

SERVICE, METHOD = "streamer.v1.Synthesis", "Synthesize"
TASK = "synthesize"


async def only(incoming: AsyncIterator[ClientMessage]) -> AsyncIterator[ClientMessage]:
    """Pass messages on; raises `InvalidRequest` for a config of another task."""
    async for message in incoming:
        if isinstance(message, Config) and message.task != TASK:
            raise InvalidRequest(f"{METHOD}: expected task {TASK}, got {message.task!r:.100}")
        yield message
