"""When things of a stream are due: the idle limit, the length limit, `Flow`, and resume points."""

from __future__ import annotations

from typing import Any

from streamer.errors import StreamTimeout
from streamer.session.limits import SessionSettings


class Timers:
    """Moments of one stream, in seconds of its owner's clock."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        # The latest `now`; when the stream last did something, None before it did.
        self._now = 0.0
        self._active_at: float | None = None
        self._opened_at = 0.0
        # What `Flow` last said, and when; when the last resume point was taken.
        self._flow_at = 0.0
        self._flow_said = (0, 0)
        self._point_at = 0.0

    def note(self, now: float, is_activity: bool = False) -> None:
        """Time has come to `now`; the client or a step did something if `is_activity`."""
        self._now = now
        if is_activity or self._active_at is None:
            self._active_at = now

    def open(self, now: float, age_s: float = 0.0) -> None:
        """The stream is admitted, `age_s` after it was opened first."""
        self.note(now, is_activity=True)
        self._flow_at = self._point_at = now
        self._opened_at = now - age_s

    def age_s(self, now: float) -> float:
        """How long ago the stream was opened."""
        return now - self._opened_at

    def check(self, now: float, is_waiting: bool, is_open: bool) -> None:
        """Raise `StreamTimeout` at the idle limit, unless the client waits for the server, and at the length limit."""
        idle_limit_s = self._settings.idle_timeout_ms / 1000
        if not is_waiting and self._active_at is not None and now - self._active_at > idle_limit_s:
            raise StreamTimeout(f"no message within {idle_limit_s:g} s")
        limit_ms = self._settings.max_session_ms
        if is_open and limit_ms is not None and self.age_s(now) > limit_ms / 1000:
            raise StreamTimeout(f"stream reached its maximal length of {limit_ms / 1000:g} s")

    def take_flow(self, now: float, says: tuple[int, int]) -> bool:
        """Whether `Flow` is due with `says`: if that is new and nothing was said lately. It counts as said then."""
        if now - self._flow_at < self._settings.flow_interval_ms / 1000 or says == self._flow_said:
            return False
        self.flow_said(now, says)
        return True

    def flow_said(self, now: float, says: tuple[int, int]) -> None:
        """`Flow` was sent with `says`."""
        self._flow_at, self._flow_said = now, says

    def take_point(self, now: float) -> bool:
        """Whether a resume point is due. It counts as taken then."""
        if now - self._point_at < self._settings.resume_interval_ms / 1000:
            return False
        self._point_at = now
        return True

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-compatible data."""
        return {
            "now": self._now,
            "opened_at": self._opened_at,
            "active_at": self._active_at,
            "flow_at": self._flow_at,
            "flow_said": list(self._flow_said),
            "point_at": self._point_at,
        }

    def restore(self, state: dict[str, Any], now: float) -> float:
        """Continue from what `state` returned as if no time had passed; returns how far the clock is ahead of then."""
        later_s = float(now - state["now"])
        self._now = now
        self._opened_at = state["opened_at"] + later_s
        self._active_at = None if state["active_at"] is None else state["active_at"] + later_s
        self._flow_at, self._point_at = state["flow_at"] + later_s, state["point_at"] + later_s
        self._flow_said = tuple(state["flow_said"])
        return later_s
