"""Carries what takes its time to read, from a thread to the event loop: files being decoded, pipes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Generic, TypeVar

# How many items reading runs ahead of whoever takes them.
AHEAD = 20

T = TypeVar("T")


async def read_ahead(items: Generator[T, None, None], ahead: int = AHEAD) -> AsyncGenerator[T, None]:
    """Iterate over `items` on a daemon thread, at most `ahead` items early, so that reading never blocks the loop.

    `items` are closed by the thread that iterates over them, also when the caller stops early; what they raise is
    raised here. The thread is a daemon so that a pipe on which nothing comes cannot hold up the end of the program.
    """
    reader = _Reader(items, ahead)
    threading.Thread(target=reader.run, name="streamer-read", daemon=True).start()
    try:
        while (item := await reader.next()) is not None:
            yield item
    finally:
        reader.stop()


class _Reader(Generic[T]):
    """Carries items from a thread to the event loop that made it, at most `ahead` at a time."""

    def __init__(self, items: Generator[T, None, None], ahead: int) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(ahead)
        self._stopped = False

    async def next(self) -> T | None:
        item = await self._queue.get()
        self._room.release()
        if isinstance(item, Exception):
            raise item
        return item

    def stop(self) -> None:
        self._stopped = True
        self._room.release()

    def run(self) -> None:
        last: Exception | None = None
        with contextlib.closing(self._items):
            try:
                for item in self._items:
                    self._room.acquire()
                    if self._stopped:
                        return
                    self._put(item)
            except Exception as error:
                last = error
        self._put(last)

    def _put(self, item: T | Exception | None) -> None:
        # The loop may be closed by the time a pipe hands out its next item.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
