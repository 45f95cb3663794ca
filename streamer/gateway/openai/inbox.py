"""Reads the messages of a WebSocket one ahead, so that a client that goes is noticed while its audio is held back."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.websockets import WebSocket

from streamer.gateway.relay import ClientGone


class Inbox:
    """The messages of one client, for one reader. Close it in any case."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._next: asyncio.Task[Any] | None = None

    async def get(self, timeout_s: float) -> str | bytes | None:
        """Return the next message, None if none came in time; raises `ClientGone`."""
        receiving = self._receiving()
        await asyncio.wait((receiving,), timeout=timeout_s)
        if not receiving.done():
            return None
        self._next = None
        event = _message(receiving)
        text, data = event.get("text"), event.get("bytes")
        return data if text is None else text

    async def pause(self, seconds: float) -> None:
        """Wait; raises `ClientGone` as soon as the client goes, unless it has said something before."""
        receiving = self._receiving()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        await asyncio.wait((receiving,), timeout=seconds)
        if receiving.done():
            _message(receiving)
            await asyncio.sleep(max(0.0, until - loop.time()))

    async def close(self) -> None:
        """Stop reading."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)

    def _receiving(self) -> asyncio.Task[Any]:
        if self._next is None:
            self._next = asyncio.create_task(self._websocket.receive())
        return self._next


def _message(receiving: asyncio.Task[Any]) -> dict[str, Any]:
    event: dict[str, Any] = receiving.result()
    if event["type"] != "websocket.receive":
        raise ClientGone
    return event
