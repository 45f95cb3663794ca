"""The second lane of a stream: the same audio through a voice activity detector, for events and for the gate."""

from __future__ import annotations

import math
from typing import Any

from streamer.session.intake import Intake
from streamer.session.messages import SpeechEvent
from streamer.session.resume_point import DetectorPoint
from streamer.session.resuming import WarmUp
from streamer.tasks.base import Activity, Task, TaskStep
from streamer.tasks.vad import DetectSpeech
from streamer.work import Array, Tensors


class SpeechDetector:
    """Feed `take`, run what `next_step` returns, hand its outputs to `complete`; at most one step is out.

    It cuts the audio by itself, so its chunks need not be those of the stream's task. All positions are wire samples.
    Only `finish` flushes: a `Finalize` puts no padding between the sounds that the detector hears.
    """

    def __init__(self, task: DetectSpeech, wire_rate: int) -> None:
        self._task = task
        self._intake = Intake(wire_rate, task.sample_rate, task.chunk_samples, task.hop_samples)
        self._step_is_out = False
        self._finished = False
        # What brings the model of a resumed stream up to the position where the stream was left.
        self._warm_up: WarmUp | None = None
        self._first_position = 0

    @property
    def task(self) -> DetectSpeech:
        """The host loop."""
        return self._task

    @property
    def received(self) -> int:
        """Wire samples taken in; may be read from any thread."""
        return self._intake.received

    @property
    def position(self) -> int:
        """Position of the first model sample of the next chunk."""
        return self._intake.start

    @property
    def is_warming_up(self) -> bool:
        """Whether steps only bring the model up to the point where the stream was left."""
        return self._warm_up is not None

    @property
    def processed(self) -> int:
        """Wire samples of the chunks that are done with; may be read from any thread."""
        return self._intake.processed

    @property
    def is_busy(self) -> bool:
        """Whether a step is out, or could be."""
        return self._step_is_out or self._intake.complete_at is not None

    @property
    def is_drained(self) -> bool:
        """Whether all that will ever be said has been said."""
        return self._finished and not self.is_busy

    @property
    def covered(self) -> int:
        """Up to which sample it is known whether there is speech."""
        return self._intake.to_wire(self._task.heard)

    @property
    def horizon(self) -> int:
        """Up to which sample that will be known without any further audio."""
        chunk, hop = self._task.chunk_samples, self._task.hop_samples
        chunks = max(0, (self._intake.position - chunk) // hop + 1)
        return self._intake.to_wire(max(0, chunks * hop - self._task.flush_samples))

    def take(self, samples: Array, now: float) -> None:
        """Take in wire samples, float32 `[n]`."""
        self._intake.take(samples, now)

    def finish(self, now: float) -> None:
        """No more audio follows."""
        self._intake.flush(self._task.flush_samples, now)
        self._finished = True

    def next_step(self) -> TaskStep | None:
        """Return the next step to run, None while one is out or audio is missing."""
        chunk = None if self._step_is_out else self._intake.peek()
        if chunk is None:
            return None
        self._step_is_out = True
        return self._task.step(chunk) if self._warm_up is None else self._warm_up.step(chunk)

    def deadline(self) -> float:
        """When the step that is out should be complete: one hop after its last sample arrived."""
        complete_at = self._intake.complete_at
        return math.inf if complete_at is None else complete_at + self._task.hop_samples / self._task.sample_rate

    def complete(self, outputs: Tensors) -> list[SpeechEvent]:
        """Take the outputs of the step that is out; raises `ModelFault` for what the manifest does not promise."""
        if not self._step_is_out:
            raise RuntimeError("no step of the detector is out")
        # What a step of the warm-up finds is known.
        found = [] if self.is_warming_up else [*self._task.complete(outputs, self._intake.is_padded)]
        self._step_is_out = False
        self._intake.advance()
        self._warm()
        if self.is_drained:
            found += self._task.finish_segment()
        return [speech_event(activity, self._intake) for activity in found]

    def keep_spans(self) -> None:
        """From now on `has_speech` is asked, and `forget` told what will not be asked for."""
        self._task.keep_spans()

    def has_speech(self, start: int, end: int) -> bool:
        """Whether any frame from sample `start` to sample `end` may be speech, as far as is known."""
        to_wire = self._intake.to_wire
        return any(to_wire(first) < end and start < to_wire(last) for first, last in self._task.spans)

    def forget(self, sample: int) -> None:
        """Nobody will ask for speech before `sample`."""
        past = [last for _, last in self._task.spans if self._intake.to_wire(last) <= sample]
        if past:
            self._task.forget(past[-1])

    def point(self, memory_samples: int) -> DetectorPoint | None:
        """Return where the detector can be taken up again after `memory_samples` of replay, None if not there.

        A step that is out is not part of it.
        """
        replay = None if self.is_warming_up else self._intake.replay(memory_samples)
        if replay is None:
            return None
        return DetectorPoint(self._intake.start, self._intake.processed, replay, self._task.state())

    def go_on(self, point: DetectorPoint, warm_up: Task | None, now: float) -> None:
        """Set everything to what it was at the point, but the model, which `warm_up` brings there."""
        self._task.restore(dict(point.task))
        self._intake.go_on(point.replay, now)
        self._first_position = point.position
        if point.replay.position < point.position:
            if warm_up is None:
                raise ValueError("expected a task to warm up with, got none")
            self._warm_up = WarmUp(warm_up)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-compatible data; a step that is out is not part of it."""
        return {"task": self._task.state(), "intake": self._intake.state(), "finished": self._finished}

    def restore(self, state: dict[str, Any], later_s: float) -> None:
        """Continue from what `state` returned, on a clock that is `later_s` ahead of the one of then."""
        self._task.restore(state["task"])
        self._intake.restore(state["intake"], later_s)
        self._finished = state["finished"]

    def _warm(self) -> None:
        """A chunk is done with."""
        if self._warm_up is not None:
            self._warm_up.advance()
            if self._intake.start >= self._first_position:
                self._warm_up = None


def speech_event(activity: Activity, intake: Intake) -> SpeechEvent:
    """Bring an activity to wire samples."""
    return SpeechEvent(activity.kind, intake.to_wire(activity.sample))
