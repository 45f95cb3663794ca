"""The protocol of one stream: client messages and step results in, steps and server messages out.

No socket, thread, clock or model is known here: whoever owns the session passes the time, runs the steps and carries
the messages.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from streamer.audio.pcm import decode
from streamer.errors import InvalidRequest, StreamerError, StreamTimeout
from streamer.session.intake import Intake
from streamer.session.limits import (
    SessionSettings,
    check_config,
    check_control,
    check_frame,
    check_pace,
)
from streamer.session.messages import (
    Audio,
    Cancel,
    ClientMessage,
    Config,
    Done,
    End,
    Finalize,
    Finalized,
    Flow,
    KeepAlive,
    Ready,
    Result,
    ServerMessage,
    Update,
    Word,
)
from streamer.tasks.base import Task, TaskStep, Transcript, WordSpan
from streamer.tasks.decoding import Decoding
from streamer.tasks.detection import Vad
from streamer.tasks.endpoint import Endpointing
from streamer.work import Tensors

__all__ = ["Session", "SessionSettings", "SessionState"]

SNAPSHOT_VERSION = 2


class SessionState(Enum):
    """Where a session is in its life: it only ever moves down this list."""

    OPENING = "opening"
    OPEN = "open"
    FLUSHING = "flushing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Control:
    """A control that acts once all chunks up to `position` are done with. `received` counts the wire samples before."""

    message: Finalize | Update | End
    position: int
    received: int


class Session:
    """One stream. Feed `receive`, run what `next_step` returns, hand its outputs to `complete`, send `take_messages`.

    `receive`, `complete` and `tick` raise the `StreamerError` that ends the stream; the session is closed then, and
    `error` holds it. Every `now` is in seconds of one clock. Not thread-safe, but for `buffered_samples`.
    """

    def __init__(self, session_id: str, settings: SessionSettings) -> None:
        self.session_id = session_id
        self._settings = settings
        self._state = SessionState.OPENING
        self._error: StreamerError | None = None
        self._config: Config | None = None
        # Set by `open`.
        self._task: Task | None = None
        self._intake: Intake | None = None
        self._model = ""
        self._opened_at = 0.0
        # Whether a step is out; its chunk stays in the intake until it is complete.
        self._step_is_out = False
        self._controls: deque[_Control] = deque()
        self._messages: list[ServerMessage] = []
        self._segments = 0
        # The latest `now`; when the stream last did something, None before it did; what `Flow` last said, and when.
        self._now = 0.0
        self._active_at: float | None = None
        self._flow_at = 0.0
        self._flow_said = (0, 0)
        self._lag_s = 0.0

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._state

    @property
    def closed(self) -> bool:
        """Whether the last message has been said."""
        return self._state is SessionState.CLOSED

    @property
    def error(self) -> StreamerError | None:
        """What ended the stream; None while it lives or if it ended well."""
        return self._error

    @property
    def config(self) -> Config | None:
        """The client's config; None before it came."""
        return self._config

    @property
    def buffered_samples(self) -> int:
        """Wire samples received and not yet consumed by a completed step. May be read from any thread."""
        intake = self._intake
        return max(0, intake.received - intake.processed) if intake else 0

    @property
    def lag_s(self) -> float:
        """From the arrival of the last sample that the last step needed to its result."""
        return self._lag_s

    def receive(self, message: ClientMessage, now: float) -> None:
        """Take a message that arrived at `now`.

        Raises `InvalidRequest`, `MessageTooLarge` or `TooFast`, and closes, when the protocol does not allow it.
        """
        self._note_activity(now)
        try:
            self._check_order(message)
            self._dispatch(message, now)
        except StreamerError as error:
            self.fail(error)
            raise

    def open(self, task: Task, model: str, now: float) -> None:
        """Start the stream, which the host has admitted, with a fresh `task` of `model`; says `Ready`."""
        if self._state is not SessionState.OPENING or self._config is None:
            raise RuntimeError(f"a session is opened once, after its config, this one is {self._state.value}")
        self._note_activity(now)
        self._bind(task, model)
        self._opened_at = self._flow_at = now
        self._state = SessionState.OPEN
        self._messages.append(self._ready(task))

    def next_step(self, now: float) -> TaskStep | None:
        """Return the next step to run, None while one is out or audio is missing."""
        self._now = now
        if self.closed or self._step_is_out or self._task is None or self._intake is None:
            return None
        chunk = self._intake.peek()
        if chunk is None:
            return None
        self._step_is_out = True
        return self._task.step(chunk)

    def deadline(self) -> float:
        """When the step that is out, or next, should be complete: one hop after its last sample arrived.

        Infinite when no chunk is complete.
        """
        if self._task is None or self._intake is None or self._intake.complete_at is None:
            return math.inf
        return self._intake.complete_at + self._task.hop_samples / self._task.sample_rate

    def complete(self, outputs: Tensors, now: float) -> None:
        """Take the outputs of the step that is out. After the session has closed they are dropped.

        Raises `ModelFault`, and closes, when they are not what the manifest promises.
        """
        if self.closed:
            return
        task, intake = self._opened()
        if not self._step_is_out or intake.complete_at is None:
            raise RuntimeError("no step is out")
        self._note_activity(now)
        self._lag_s = now - intake.complete_at
        try:
            transcripts = task.complete(outputs, intake.is_padded, self._opened_config().interim_results)
        except StreamerError as error:
            self.fail(error)
            raise
        self._step_is_out = False
        intake.advance()
        self._say(transcripts)
        self._act_on_controls()
        self._flow(now)

    def fail(self, error: StreamerError) -> None:
        """End the stream with `error` and drop what is pending. Does nothing once it is closed."""
        if not self.closed:
            self._error = error
            self._close()

    def tick(self, now: float) -> None:
        """Run the timers: `Flow`, the idle limit and the length limit.

        Raises `StreamTimeout`, and closes, when a limit is reached.
        """
        self._now = now
        if self.closed:
            return
        try:
            self._check_times(now)
        except StreamTimeout as error:
            self.fail(error)
            raise
        self._flow(now)

    def take_messages(self) -> list[ServerMessage]:
        """Return what is to be sent, in order, and forget it."""
        messages, self._messages = self._messages, []
        return messages

    def snapshot(self) -> dict[str, Any]:
        """Return the stream as JSON-compatible data. Only an open or flushing session has one.

        A step that is out is not part of it: the restored session asks for the same step again, so it belongs with
        model states from before that step. Messages not yet taken are not part of it either: take them first.
        """
        if self.closed:
            raise RuntimeError("a closed session has no snapshot")
        task, intake = self._opened()
        return {
            "version": SNAPSHOT_VERSION,
            "session_id": self.session_id,
            "config": asdict(self._opened_config()),
            "model": self._model,
            "state": self._state.value,
            "segments": self._segments,
            "controls": [_control_state(control) for control in self._controls],
            "task": task.state(),
            "intake": intake.state(),
            "now": self._now,
            "opened_at": self._opened_at,
            "active_at": self._active_at,
            "flow_at": self._flow_at,
            "flow_said": list(self._flow_said),
            "lag_s": self._lag_s,
        }

    @classmethod
    def restored(cls, snapshot: dict[str, Any], settings: SessionSettings, task: Task, now: float) -> Session:
        """Continue a stream from its `snapshot`, with a fresh `task` of the same bundle; says nothing by itself.

        Time stands still between the snapshot and `now`. Raises `InvalidRequest` for a snapshot of another version.
        """
        if snapshot.get("version") != SNAPSHOT_VERSION:
            raise InvalidRequest(f"expected a snapshot of version {SNAPSHOT_VERSION}, got {snapshot.get('version')!r}")
        session = cls(snapshot["session_id"], settings)
        session._config = _restored_config(snapshot["config"])
        session._bind(task, snapshot["model"])
        session._restore(snapshot, now)
        return session

    def _restore(self, snapshot: dict[str, Any], now: float) -> None:
        task, intake = self._opened()
        later_s = now - snapshot["now"]
        task.restore(snapshot["task"])
        intake.restore(snapshot["intake"], later_s)
        self._state = SessionState(snapshot["state"])
        self._segments = snapshot["segments"]
        self._controls = deque(_restored_control(control) for control in snapshot["controls"])
        self._now = now
        self._opened_at = snapshot["opened_at"] + later_s
        self._active_at = snapshot["active_at"] + later_s
        self._flow_at = snapshot["flow_at"] + later_s
        self._flow_said = tuple(snapshot["flow_said"])
        self._lag_s = snapshot["lag_s"]

    def _bind(self, task: Task, model: str) -> None:
        self._task, self._model = task, model
        self._intake = Intake(self._opened_config().sample_rate, task.sample_rate, task.chunk_samples, task.hop_samples)

    def _opened(self) -> tuple[Task, Intake]:
        if self._task is None or self._intake is None:
            raise RuntimeError("the session is not open yet")
        return self._task, self._intake

    def _opened_config(self) -> Config:
        if self._config is None:
            raise RuntimeError("the session has no config yet")
        return self._config

    def _ready(self, task: Task) -> Ready:
        _, intake = self._opened()
        wire_rate = self._opened_config().sample_rate
        to_ms = 1000 / task.sample_rate
        return Ready(
            session_id=self.session_id,
            model=self._model,
            wire_rate=wire_rate,
            model_rate=task.sample_rate,
            chunk_ms=task.hop_samples * to_ms,
            delay_ms=task.delay_samples * to_ms + 1000 * intake.hold_back_samples / wire_rate,
            limits=self._settings.limits(),
        )

    def _check_order(self, message: ClientMessage) -> None:
        name = type(message).__name__.lower()
        if self._state is SessionState.CLOSED:
            raise InvalidRequest(f"expected no message after the stream closed, got {name}")
        if isinstance(message, Cancel | KeepAlive):
            return
        if self._state is SessionState.FLUSHING:
            raise InvalidRequest(f"expected no message after end, got {name}")
        if isinstance(message, Config):
            if self._config is not None:
                raise InvalidRequest("expected one config, got a second")
        elif self._config is None:
            raise InvalidRequest(f"expected config first, got {name}")
        elif self._state is SessionState.OPENING:
            raise InvalidRequest(f"expected no message before the stream is admitted, got {name}")

    def _dispatch(self, message: ClientMessage, now: float) -> None:
        match message:
            case Config():
                check_config(message)
                self._config = message
            case Audio():
                self._take_audio(message, now)
            case Finalize() | Update() | End():
                self._take_control(message, now)
            case Cancel():
                self._finish(cancelled=True)
            case KeepAlive():
                pass
            case _:
                raise InvalidRequest(f"unknown message {type(message).__name__.lower()}")

    def _take_audio(self, message: Audio, now: float) -> None:
        _, intake = self._opened()
        config = self._opened_config()
        samples = check_frame(message, config, intake.received, self._settings)
        check_pace(intake.received + samples, config, now - self._opened_at, self._settings)
        intake.take(decode(message.data, config.encoding, intake.received), now)

    def _take_control(self, message: Finalize | Update | End, now: float) -> None:
        task, intake = self._opened()
        check_control(message, len(self._controls))
        is_update = isinstance(message, Update)
        position = intake.position if is_update else intake.flush(task.flush_samples, now)
        if isinstance(message, End):
            self._state = SessionState.FLUSHING
        self._controls.append(_Control(message, position, intake.received))
        self._act_on_controls()

    def _act_on_controls(self) -> None:
        """Act on the controls whose audio is done with. None that came after a chunk was complete acts before it."""
        task, intake = self._opened()
        while self._controls and not self.closed and intake.next_end > self._controls[0].position:
            control = self._controls.popleft()
            match control.message:
                case Update(endpointing):
                    task.update(endpointing)
                case Finalize(id):
                    self._say(task.finish_segment())
                    intake.forget(control.position)
                    self._messages.append(Finalized(id, control.received))
                case End():
                    self._say(task.finish_segment())
                    self._finish(cancelled=False)

    def _say(self, transcripts: Iterable[Transcript]) -> None:
        for transcript in transcripts:
            self._segments += transcript.is_final
            self._messages.append(self._result(transcript))

    def _result(self, transcript: Transcript) -> Result:
        _, intake = self._opened()
        return Result(
            segment_id=transcript.segment_id,
            revision=transcript.revision,
            text=transcript.text,
            stable_chars=transcript.stable_chars,
            is_final=transcript.is_final,
            end_of_turn=transcript.end_of_turn,
            start_sample=intake.to_wire(transcript.start_sample),
            end_sample=intake.to_wire(transcript.end_sample),
            confidence=transcript.confidence,
            words=tuple(_word(span, intake) for span in transcript.words),
            alternatives=transcript.alternatives,
        )

    def _finish(self, cancelled: bool) -> None:
        received = self._intake.received if self._intake else 0
        self._messages.append(Done(received, self._segments, cancelled))
        self._close()

    def _close(self) -> None:
        self._state = SessionState.CLOSED
        self._step_is_out = False
        self._controls.clear()
        # Nothing is pending any more; the audio need not stay in memory until the host forgets the stream.
        self._task = self._intake = None

    def _check_times(self, now: float) -> None:
        if self._active_at is None:
            self._active_at = now
        idle_limit_s = self._settings.idle_timeout_ms / 1000
        is_waiting = self._step_is_out or (self._intake is not None and self._intake.complete_at is not None)
        if not is_waiting and now - self._active_at > idle_limit_s:
            raise StreamTimeout(f"no message within {idle_limit_s:g} s")
        limit_ms = self._settings.max_session_ms
        if self._state is SessionState.OPEN and limit_ms is not None and now - self._opened_at > limit_ms / 1000:
            raise StreamTimeout(f"stream reached its maximal length of {limit_ms / 1000:g} s")

    def _flow(self, now: float) -> None:
        """Say where the server is, if that has changed and it was not said lately."""
        intake = self._intake
        if intake is None or now - self._flow_at < self._settings.flow_interval_ms / 1000:
            return
        if self._flow_said == (intake.received, intake.processed):
            return
        self._flow_at = now
        self._flow_said = (intake.received, intake.processed)
        buffered_ms = 1000 * self.buffered_samples / self._opened_config().sample_rate
        self._messages.append(Flow(intake.received, intake.processed, buffered_ms, 1000 * self._lag_s))

    def _note_activity(self, now: float) -> None:
        self._now = self._active_at = now


def _word(span: WordSpan, intake: Intake) -> Word:
    return Word(span.word, intake.to_wire(span.start_sample), intake.to_wire(span.end_sample), span.confidence)


def _restored_config(state: dict[str, Any]) -> Config:
    """Return the config that was written down; a stream that goes on is not resumed a second time."""
    rules, decoding, vad = Endpointing(**state["endpointing"]), Decoding.of(state["decoding"]), Vad(**state["vad"])
    return Config(**{**state, "endpointing": rules, "decoding": decoding, "vad": vad, "resume": None})


def _control_state(control: _Control) -> dict[str, Any]:
    message = {"kind": type(control.message).__name__, **asdict(control.message)}
    return {"message": message, "position": control.position, "received": control.received}


def _restored_control(state: dict[str, Any]) -> _Control:
    fields = dict(state["message"])
    message: Finalize | Update | End
    match fields.pop("kind"):
        case "Finalize":
            message = Finalize(**fields)
        case "Update":
            message = Update(Endpointing(**fields["endpointing"]))
        case _:
            message = End()
    return _Control(message, state["position"], state["received"])
