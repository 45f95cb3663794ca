"""Writing to a WebSocket whose client may have gone, or may not read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from starlette.websockets import WebSocket, WebSocketDisconnect

from streamer.errors import SlowReader
from streamer.gateway.relay import ClientGone


async def sent(sending: Awaitable[None]) -> None:
    """Wait for `sending`, something that a WebSocket does; raises `ClientGone` if the client has gone."""
    try:
        await sending
    except (WebSocketDisconnect, RuntimeError):
        # uvicorn raises RuntimeError between cutting off a bad frame and reporting the disconnect.
        raise ClientGone from None


async def told(websocket: WebSocket, text: str, limit_s: float) -> None:
    """Send `text`; raises `SlowReader` if it is not taken within `limit_s` seconds, and `ClientGone`."""
    try:
        async with asyncio.timeout(limit_s):
            await sent(websocket.send_text(text))
    except TimeoutError:
        raise SlowReader(f"a result was not taken within {limit_s:g} s") from None
