"""Bodies of requests that hold files: read within limits of size, time and number."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.requests import Request

from streamer.errors import MessageTooLarge, Overloaded, QuotaExceeded, StreamTimeout
from streamer.host.callers import ANONYMOUS, Caller

# An upload is slower than the phones of long ago; without a limit one that trickles would keep its place for ever.
LEAST_BYTES_PER_S = 4096


class Uploads:
    """Counts the uploads that are being received: `most` at a time, of which one caller may have half.

    A caller who may have fewer streams may have no more uploads than that.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, caller: Caller = ANONYMOUS) -> Iterator[None]:
        """Count one of `caller` for as long as it lasts.

        Raises `Overloaded` if there are as many as there may be, `QuotaExceeded` if the caller has its share.
        """
        if self._open.total() >= self._most:
            raise Overloaded(f"{self._open.total()} uploads are being received, which is the limit")
        account, share = caller.account, self._share_of(caller)
        if self._open[account] >= share:
            raise QuotaExceeded(f"expected at most {share} uploads at a time, {share} are being received")
        self._open[account] += 1
        try:
            yield
        finally:
            self._open[account] -= 1
            if not self._open[account]:
                del self._open[account]

    def _share_of(self, caller: Caller) -> int:
        if caller == ANONYMOUS:
            return self._most
        half = max(1, self._most // 2)
        return half if caller.max_streams is None else min(half, caller.max_streams)


async def limited_body(request: Request, max_bytes: int, idle_s: float) -> AsyncGenerator[bytes, None]:
    """Yield the body of `request` piece by piece.

    Raises `MessageTooLarge` above `max_bytes`, at once if the request says so beforehand, and `StreamTimeout` when
    nothing comes for `idle_s` seconds, or on the whole less than `LEAST_BYTES_PER_S` after them; starlette's
    `ClientDisconnect` when the client goes.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(int(length), max_bytes)
    received = 0
    body: AsyncIterator[bytes] = request.stream()
    clock = asyncio.get_running_loop().time
    began = clock()
    while True:
        idle, slow = clock() + idle_s, began + idle_s + received / LEAST_BYTES_PER_S
        try:
            async with asyncio.timeout_at(min(idle, slow)):
                chunk = await anext(body, None)
        except TimeoutError:
            raise _too_slow(received > 0 and slow < idle, idle_s) from None
        if chunk is None:
            return
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(received, max_bytes)
        yield chunk


def _too_slow(trickles: bool, idle_s: float) -> StreamTimeout:
    if trickles:
        return StreamTimeout(f"expected an upload of at least {LEAST_BYTES_PER_S} bytes per second, got less")
    return StreamTimeout(f"nothing of the upload within {idle_s:g} s")


def _too_large(size: int, max_bytes: int) -> MessageTooLarge:
    return MessageTooLarge(f"upload of {size} bytes exceeds the limit of {max_bytes} bytes")
