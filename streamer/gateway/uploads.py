"""Bodies of requests that hold files: read within limits of size, time and number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.requests import Request

from streamer.errors import MessageTooLarge, Overloaded, StreamTimeout


class Uploads:
    """Counts the uploads that are being received, of which there may be `most` at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one for as long as it lasts; raises `Overloaded` if there are as many as there may be."""
        if self._open >= self._most:
            raise Overloaded(f"{self._open} uploads are being received, which is the limit")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


async def limited_body(request: Request, max_bytes: int, idle_s: float) -> AsyncGenerator[bytes, None]:
    """Yield the body of `request` piece by piece.

    Raises `MessageTooLarge` above `max_bytes`, at once if the request says so beforehand, and `StreamTimeout` when
    nothing comes for `idle_s` seconds; starlette's `ClientDisconnect` when the client goes.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(int(length), max_bytes)
    received = 0
    body: AsyncIterator[bytes] = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(body, None)
        except TimeoutError:
            raise StreamTimeout(f"nothing of the upload within {idle_s:g} s") from None
        if chunk is None:
            return
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(received, max_bytes)
        yield chunk


def _too_large(size: int, max_bytes: int) -> MessageTooLarge:
    return MessageTooLarge(f"upload of {size} bytes exceeds the limit of {max_bytes} bytes")
