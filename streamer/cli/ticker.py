"""Many sleepers, few timers."""

from __future__ import annotations

import asyncio
import math


class Ticker:
    """Wakes its sleepers on a grid of `grid_s` seconds, with one timer per grid point however many sleep until it.

    A load generator shares the machine with the server it measures; thousands of timers a second would be load too.
    """

    def __init__(self, grid_s: float = 0.005) -> None:
        self._grid_s = grid_s
        self._loop = asyncio.get_running_loop()
        self._sleepers: dict[int, list[asyncio.Future[None]]] = {}

    async def until(self, at: float) -> None:
        """Sleep until the first grid point not before `at` (seconds of the loop's clock); returns at once if past."""
        if at <= self._loop.time():
            return
        point = math.ceil(at / self._grid_s)
        if point not in self._sleepers:
            self._sleepers[point] = []
            self._loop.call_at(point * self._grid_s, self._wake, point)
        sleeper = self._loop.create_future()
        self._sleepers[point].append(sleeper)
        await sleeper

    def _wake(self, point: int) -> None:
        for sleeper in self._sleepers.pop(point):
            if not sleeper.done():
                sleeper.set_result(None)
