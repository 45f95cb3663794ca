"""When and how often a client tries again after its connection was lost."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from streamer.errors import Draining, InvalidRequest, Overloaded, QuotaExceeded

# What says nothing about the stream itself. All else is the stream's own fault and would happen again.
RETRIED = (OSError, Draining, Overloaded, QuotaExceeded)


class BufferFull(ConnectionError):
    """The connection is lost, and no more audio can be kept until it is back."""


class CannotResume(ConnectionError):
    """The connection was lost, and audio or a model that is needed to go on is not there any more."""


def is_retried(error: Exception) -> bool:
    """Whether another connection may mend what ended this one."""
    return isinstance(error, RETRIED) and not isinstance(error, CannotResume)


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a resumable stream outlives its connection.

    Audio is kept until the server no longer needs it, at most `buffer_s` seconds. When that is full while there is no
    connection, sending waits, or raises `BufferFull` if `overflow` is "error". Attempts go on until `give_up_after_s`
    have passed without the stream getting anywhere; they go to the stream's own URL and those of `urls` in turn, with
    random delays of at most `first_delay_s`, then twice that, and so on up to `longest_delay_s`. An attempt may take
    `connect_timeout_s`.
    """

    buffer_s: float = 120.0
    overflow: Literal["wait", "error"] = "wait"
    give_up_after_s: float = 60.0
    first_delay_s: float = 0.1
    longest_delay_s: float = 5.0
    connect_timeout_s: float = 10.0
    urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("buffer_s", "give_up_after_s", "first_delay_s", "longest_delay_s", "connect_timeout_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidRequest(f"reconnect {name}: expected a number of seconds above 0, got {value!r}")
        if self.overflow not in ("wait", "error"):
            raise InvalidRequest(f"reconnect overflow: expected wait or error, got {self.overflow!r}")


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock, in seconds, and the chance that a client lives by."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    """From 0 to 1."""


class Attempts:
    """Counts attempts since the stream last got somewhere."""

    def __init__(self, policy: Reconnect, timing: Timing) -> None:
        self._policy = policy
        self._timing = timing
        self._failing_since: float | None = None
        self._count = 0

    def progress(self) -> None:
        """The stream got somewhere: what failed before does not count any more."""
        self._failing_since = None
        self._count = 0

    def next_delay(self, error: Exception) -> float:
        """Return how long to wait after `error` before the next attempt; raises it when there is to be none."""
        now = self._timing.clock()
        if self._failing_since is None:
            self._failing_since = now
        # A server that comes back must not meet all its clients at once.
        delay = self._timing.random() * self._limit() + getattr(error, "retry_after_s", 0.0)
        self._count += 1
        failing_s = now - self._failing_since
        if failing_s + delay > self._policy.give_up_after_s:
            raise _given_up(error, failing_s)
        return delay

    def _limit(self) -> float:
        # The exponent is bounded, floats are too.
        return min(self._policy.longest_delay_s, self._policy.first_delay_s * 2.0 ** min(self._count, 64))


def _given_up(error: Exception, failing_s: float) -> Exception:
    if isinstance(error, OSError):
        return ConnectionError(f"no way to resume for {failing_s:.1f} s, gave up: {error}")
    return error
