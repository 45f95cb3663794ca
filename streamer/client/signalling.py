"""Waiting for something to become true on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """Lets coroutines wait for conditions on state that others change, and wakes them when told of a change."""

    def __init__(self) -> None:
        self._changed: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Something changed: who waits looks again."""
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds."""
        while not condition():
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)
