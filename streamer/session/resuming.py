"""What a session does beyond others so that its stream can be taken up again, and when it is one that was."""

from __future__ import annotations

from dataclasses import replace

from streamer.errors import InvalidRequest
from streamer.session.messages import End, Finalize, Update
from streamer.session.resume_point import ResumePoint, Resumption
from streamer.tasks.base import Task, TaskStep
from streamer.work import Array


class WarmUp:
    """Steps that only rebuild the model's state: those of a fresh task that never learns what they return."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._is_first = True

    def step(self, chunk: Array) -> TaskStep:
        """Turn the next chunk into a step; only the first one starts anything."""
        step = self._task.step(chunk)
        return step if self._is_first else replace(step, start=frozenset())

    def advance(self) -> None:
        """The step is complete."""
        self._is_first = False


class Resuming:
    """The resumable side of a stream: its last point, and the warm-up that leads to its first unless it `is_warm`."""

    def __init__(self, resumption: Resumption, is_warm: bool = False) -> None:
        self.token = resumption.token
        self.point = resumption.point
        self.memory_samples = resumption.memory_samples
        self.detector_memory = resumption.detector.memory_samples if resumption.detector else None
        self.has_points = resumption.has_points
        self.first_point = resumption.point
        self.warm_up: WarmUp | None = None
        if not is_warm and resumption.point.replay.position < resumption.point.position:
            if resumption.warm_up is None:
                raise ValueError("expected a task to warm up with, got none")
            self.warm_up = WarmUp(resumption.warm_up)

    def advance(self, position: int) -> None:
        """The chunk before `position` is done with."""
        if self.warm_up is not None:
            self.warm_up.advance()
            if position >= self.first_point.position:
                self.warm_up = None

    def check_control(self, message: Finalize | Update | End, received: int) -> None:
        """Raise `InvalidRequest` for a control where the stream that is resumed had been heard without it.

        A detector knows of no control but the end.
        """
        point = self.first_point
        heard = point.heard_by_any if isinstance(message, End) else point.heard
        if received < heard:
            name = type(message).__name__.lower()
            expected = f"audio up to sample {heard} again before any control"
            raise InvalidRequest(f"resume: expected {expected}, got {name} at sample {received}")

    def keeps_from(self, position: int, start: int) -> int:
        """Return from where on the cuts of the audio matter, if words do from `position` and chunks from `start`."""
        memory = self.memory_samples
        return position if memory is None else min(position, max(0, start - memory))

    def keep(self, token: str, point: ResumePoint) -> None:
        """`point` has become `token`, which replaces the one before."""
        self.token, self.point = token, point
