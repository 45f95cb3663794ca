"""Writing to a WebSocket whose client may have gone, or may not read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from streamer.errors import SlowReader, StreamerError
from streamer.gateway.relay import ClientGone

_FAREWELL_S = 1.0

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def farewell(fail: Callable[[Exception], Awaitable[None]], bug: str) -> AsyncIterator[None]:
    """Serve a client inside. What ends that is told by `fail`, unless the client has gone; bugs are logged as `bug`."""
    try:
        yield
    except ClientGone:
        return
    except StreamerError as error:
        await _last_words(fail(error))
    except Exception as error:
        log.exception(bug)
        await _last_words(fail(error))


async def _last_words(saying: Awaitable[None]) -> None:
    # Who does not read will not read this either.
    with contextlib.suppress(ClientGone, SlowReader, TimeoutError):
        async with asyncio.timeout(_FAREWELL_S):
            await saying


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
