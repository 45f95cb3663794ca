"""The protocol of one stream: client messages and step results in, steps and server messages out.

No socket, thread, clock or model is known here: whoever owns the session passes the time, runs the steps and carries
the messages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import Enum
from typing import Any

from streamer.errors import InvalidRequest, StreamerError, StreamTimeout
from streamer.session.answers import Answers
from streamer.session.controls import Control, Controls
from streamer.session.detector import SpeechDetector
from streamer.session.gate import SilenceGate, Verdict
from streamer.session.hearing import Hearing, longest_ms
from streamer.session.intake import Intake
from streamer.session.limits import SessionSettings, check_config, check_control, check_snapshot
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
    ServerMessage,
    Update,
)
from streamer.session.resume_point import ResumePoint, Resumption
from streamer.session.resuming import Resuming
from streamer.session.timers import Timers
from streamer.tasks.base import Finding, Task, TaskStep
from streamer.tasks.decoding import Decoding
from streamer.tasks.detection import Vad
from streamer.tasks.endpoint import Endpointing
from streamer.work import Array, Tensors

__all__ = ["Session", "SessionSettings", "SessionState"]

SNAPSHOT_VERSION = 3


class SessionState(Enum):
    """Where a session is in its life: it only ever moves down this list."""

    OPENING = "opening"
    OPEN = "open"
    FLUSHING = "flushing"
    CLOSED = "closed"


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
        # Set by `open`; the last one only for resumable streams.
        self._task: Task | None = None
        self._intake: Intake | None = None
        self._hearing: Hearing | None = None
        self._resuming: Resuming | None = None
        self._model = ""
        # The second lane, if the config asks for it, and what spares the first one silence.
        self._detector: SpeechDetector | None = None
        self._gate: SilenceGate | None = None
        # Whether the next chunk waits until the detector has heard more.
        self._is_held = False
        # Whether a step is out; its chunk stays in the intake until it is complete.
        self._step_is_out = False
        self._controls = Controls()
        self._answers = Answers()
        self._timers = Timers(settings)
        self._lag_s = 0.0
        self._heard_samples = 0

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
        intake, detector = self._intake, self._detector
        if intake is None:
            return 0
        processed = intake.processed if detector is None else min(intake.processed, detector.processed)
        return max(0, intake.received - processed)

    @property
    def heard_s(self) -> float:
        """Seconds of audio that came, replayed ones too. May be read from any thread, also after the end."""
        return self._heard_samples / self._config.sample_rate if self._config else 0.0

    @property
    def lag_s(self) -> float:
        """From the arrival of the last sample that the last step needed to its result."""
        return self._lag_s

    @property
    def is_warming_up(self) -> bool:
        """Whether steps only bring the model of a resumed stream up to the point where the stream was left."""
        return self._resuming is not None and self._resuming.warm_up is not None

    def longest_ms(self, audio: Audio) -> float:
        """How much audio a message may hold, before it is decoded. May be called from any thread."""
        return 0.0 if self._config is None else longest_ms(audio, self._config, self._settings)

    def receive(self, message: ClientMessage, now: float) -> None:
        """Take a message that arrived at `now`.

        Raises `InvalidRequest`, `MessageTooLarge` or `TooFast`, and closes, when the protocol does not allow it.
        """
        self._timers.note(now, is_activity=True)
        try:
            self._check_order(message)
            self._dispatch(message, now)
        except StreamerError as error:
            self.fail(error)
            raise

    def open(
        self,
        task: Task,
        model: str,
        now: float,
        detector: SpeechDetector | None = None,
        *,
        resumption: Resumption | None = None,
    ) -> None:
        """Start the stream, which the host has admitted, with a fresh `task` of `model`; says `Ready`.

        `detector` is there if `config.vad` asks for one beside the task, `resumption` for a resumable stream: it says
        where to go on if the stream was resumed.
        """
        if self._state is not SessionState.OPENING or self._config is None:
            raise RuntimeError(f"a session is opened once, after its config, this one is {self._state.value}")
        self._bind(task, model, detector)
        self._timers.open(now, resumption.age_s if resumption else 0.0)
        self._state = SessionState.OPEN
        if resumption is not None:
            self._go_on(resumption, now)
        self._answers.put(self._ready())

    def next_step(self, now: float) -> TaskStep | None:
        """Return the next step to run, None while one is out or audio is missing."""
        self._timers.note(now)
        if self.closed or self._step_is_out or self._task is None or self._intake is None:
            return None
        self._skip_silence()
        chunk = None if self._is_held or self._intake is None else self._intake.peek()
        if chunk is None:
            return None
        self._step_is_out = True
        warm_up = self._resuming.warm_up if self._resuming else None
        return self._task.step(chunk) if warm_up is None else warm_up.step(chunk)

    def next_detection(self) -> TaskStep | None:
        """Return the next step of the detector, None without one, while one is out or when audio is missing.

        To be asked for before `next_step`, which may have to wait for what the detector says.
        """
        return None if self._detector is None else self._detector.next_step()

    def detection_deadline(self) -> float:
        """When the detector's step that is out, or next, should be complete."""
        return math.inf if self._detector is None else self._detector.deadline()

    def complete_detection(self, outputs: Tensors, now: float) -> None:
        """Take the outputs of the detector's step; as `complete`, and `next_step` may have one to run afterwards."""
        if self.closed:
            return
        if self._detector is None:
            raise RuntimeError("the session has no detector")
        self._timers.note(now, is_activity=True)
        try:
            events = self._detector.complete(outputs)
        except StreamerError as error:
            self.fail(error)
            raise
        for event in events if self._opened_config().vad.events else ():
            self._answers.put(event)
        if self._gate is None:
            self._detector.forget(self._detector.covered)
        self._act_on_controls()

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
        _, intake = self._opened()
        if not self._step_is_out or intake.complete_at is None:
            raise RuntimeError("no step is out")
        self._timers.note(now, is_activity=True)
        self._lag_s = now - intake.complete_at
        findings = self._findings(outputs)
        self._step_is_out = False
        intake.advance()
        if self._resuming is not None:
            self._resuming.advance(intake.start)
        self._answers.say(findings, intake)
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
        self._timers.note(now)
        if self.closed:
            return
        try:
            self._timers.check(now, self._is_at_work, self._state is SessionState.OPEN)
        except StreamTimeout as error:
            self.fail(error)
            raise
        self._flow(now)

    def take_messages(self) -> list[ServerMessage]:
        """Return what is to be sent, in order, and forget it."""
        return self._answers.take()

    def resume_point(self, now: float) -> ResumePoint | None:
        """Return where the stream could be taken up again, if it is time for a point and there can be one.

        The model's state at the point is the one that it has now.
        """
        resuming = self._resuming
        if self.closed or self._step_is_out or resuming is None or resuming.warm_up is not None:
            return None
        task, intake = self._opened()
        if (
            resuming.memory_samples is None
            or intake.start == resuming.point.position
            or not self._timers.take_point(now)
        ):
            return None
        replay = intake.replay(resuming.memory_samples)
        if replay is None:
            return None
        counts = (self._answers.segments, self._controls.acted, self._answers.said)
        return ResumePoint(intake.start, intake.processed, replay, *counts, task.state())

    def keep_token(self, token: str, point: ResumePoint, now: float) -> None:
        """Tell the client the `token` of `point`, the last one that `resume_point` returned."""
        if self._resuming is not None and not self.closed:
            self._resuming.keep(token, point)
            flow = self._flow_message()
            self._timers.flow_said(now, (flow.received_sample, flow.processed_sample))
            acked = point.replay.wire_sample
            self._answers.put_last(replace(flow, acked_sample=acked, acked_controls=point.controls, resume_token=token))

    def snapshot(self) -> dict[str, Any]:
        """Return the stream as JSON-compatible data. Only an open or flushing session has one.

        A step that is out is not part of it: the restored session asks for the same step again, so it belongs with
        model states from before that step. Messages not yet taken are not part of it either: take them first. Nor is
        what makes a stream resumable: see `go_on`.
        """
        if self.closed:
            raise RuntimeError("a closed session has no snapshot")
        task, intake = self._opened()
        check_snapshot(self._opened_config())
        return {
            "version": SNAPSHOT_VERSION,
            "session_id": self.session_id,
            "config": asdict(self._opened_config()),
            "model": self._model,
            "state": self._state.value,
            "answers": self._answers.state(),
            "controls": self._controls.state(),
            "task": task.state(),
            "intake": intake.state(),
            "detector": None if self._detector is None else self._detector.state(),
            "timers": self._timers.state(),
            "lag_s": self._lag_s,
        }

    @classmethod
    def restored(
        cls,
        snapshot: dict[str, Any],
        settings: SessionSettings,
        task: Task,
        now: float,
        detector: SpeechDetector | None = None,
    ) -> Session:
        """Continue a stream from its `snapshot`, with a fresh `task` of the same bundle; says nothing by itself.

        It takes a fresh `detector` too if the stream had one. Time stands still between the snapshot and `now`. Raises
        `InvalidRequest` for a snapshot of another version.
        """
        if snapshot.get("version") != SNAPSHOT_VERSION:
            raise InvalidRequest(f"expected a snapshot of version {SNAPSHOT_VERSION}, got {snapshot.get('version')!r}")
        session = cls(snapshot["session_id"], settings)
        session._config = _restored_config(snapshot["config"])
        session._bind(task, snapshot["model"], detector)
        session._restore(snapshot, now)
        return session

    def take_up(self, resumption: Resumption, now: float) -> bool:
        """Make a restored stream resumable again, for a client that has what its token and `next_segment` say.

        Says `Ready`, for audio and controls after the snapshot, and what the client lacks; returns False, and says
        nothing, if that is not known any more.
        """
        point = resumption.point
        _, intake = self._opened()
        is_behind = point.position > intake.start or resumption.next_segment > self._answers.segments
        if is_behind or not self._answers.can_repeat(point.said):
            return False
        self._resuming = Resuming(resumption, is_warm=True)
        self._timers.open(now, resumption.age_s)
        self._answers.put(self._ready())
        self._answers.repeat(point.said, resumption.next_segment)
        return True

    def _restore(self, snapshot: dict[str, Any], now: float) -> None:
        task, intake = self._opened()
        later_s = self._timers.restore(snapshot["timers"], now)
        task.restore(snapshot["task"])
        intake.restore(snapshot["intake"], later_s)
        if self._detector is not None:
            self._detector.restore(snapshot["detector"], later_s)
        self._state = SessionState(snapshot["state"])
        self._answers.restore(snapshot["answers"])
        self._controls.restore(snapshot["controls"])
        self._lag_s = snapshot["lag_s"]

    def _bind(self, task: Task, model: str, detector: SpeechDetector | None) -> None:
        self._task, self._model, self._detector = task, model, detector
        config = self._opened_config()
        if detector is not None and config.vad.gate:
            self._gate = SilenceGate(detector, task, config.sample_rate)
        self._intake = Intake(config.sample_rate, task.sample_rate, task.chunk_samples, task.hop_samples)
        self._hearing = Hearing(config, self._settings)

    def _go_on(self, resumption: Resumption, now: float) -> None:
        """Set everything to what it was at the point, but the model, which the warm-up brings there."""
        task, intake = self._opened()
        point = resumption.point
        self._resuming = Resuming(resumption)
        task.restore(dict(point.task))
        intake.go_on(point.replay, now)
        self._controls.skip(point.controls)
        self._answers.go_on(point.segments, resumption.next_segment, point.said)

    def _opened(self) -> tuple[Task, Intake]:
        if self._task is None or self._intake is None:
            raise RuntimeError("the session is not open yet")
        return self._task, self._intake

    def _opened_config(self) -> Config:
        if self._config is None:
            raise RuntimeError("the session has no config yet")
        return self._config

    def _ready(self) -> Ready:
        task, intake = self._opened()
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
            next_sample=intake.received,
            next_control=self._controls.received,
            resume_token=self._resuming.token if self._resuming else None,
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
        assert self._hearing is not None
        self._hear(self._hearing.take(message, intake.received, self._timers.age_s(now)), now)

    def _settle(self, message: Finalize | End, now: float) -> None:
        """Take in what a decoder still holds back, and tell of audio that was cut off."""
        _, intake = self._opened()
        assert self._hearing is not None
        self._hear(self._hearing.settle(intake.received, self._timers.age_s(now)), now)
        warning = self._hearing.truncation() if isinstance(message, End) else None
        if warning is not None:
            self._answers.put(warning)

    def _hear(self, samples: Array, now: float) -> None:
        _, intake = self._opened()
        self._heard_samples += len(samples)
        intake.take(samples, now)
        if self._detector is not None:
            self._detector.take(samples, now)

    def _take_control(self, message: Finalize | Update | End, now: float) -> None:
        task, intake = self._opened()
        check_control(message, len(self._controls))
        if self._resuming is not None:
            self._resuming.check_control(message, intake.received)
        if isinstance(message, Update):
            position = intake.position
        else:
            self._settle(message, now)
            position = intake.flush(task.flush_samples, now)
        if isinstance(message, End):
            self._state = SessionState.FLUSHING
        self._controls.add(Control(message, position, intake.received, self._horizon(message, now)))
        self._act_on_controls()

    def _act_on_controls(self) -> None:
        """Act on the controls whose audio is done with. None that came after a chunk was complete acts before it."""
        task, intake = self._opened()
        may_end = self._detector is None or self._detector.is_drained
        while (
            not self.closed
            and not self.is_warming_up
            and (control := self._controls.next_due(intake.next_end, may_end))
        ):
            match control.message:
                case Update(endpointing):
                    task.update(endpointing)
                case Finalize(id):
                    self._answers.say(task.finish_segment(), intake)
                    resuming = self._resuming
                    intake.forget(resuming.keeps_from(control.position, intake) if resuming else control.position)
                    self._answers.put(Finalized(id, control.received))
                case End():
                    self._answers.say(task.finish_segment(), intake)
                    self._finish(cancelled=False)

    def _horizon(self, message: Finalize | Update | End, now: float) -> int:
        """Up to which wire sample the detector knows of speech without audio after `message`; the end flushes it."""
        if self._detector is None:
            return 0
        if isinstance(message, End):
            self._detector.finish(now)
            return self._opened()[1].received
        return self._detector.horizon

    def _skip_silence(self) -> None:
        """Skip the chunks that hold nothing but silence, up to one that is to be run or has to wait."""
        self._is_held = False
        while self._gate is not None and self._intake is not None and self._intake.complete_at is not None:
            verdict = self._gate.verdict(self._intake, self._controls)
            self._is_held = verdict is Verdict.WAIT
            if verdict is not Verdict.SKIP:
                return
            task, intake = self._opened()
            findings = task.skip(intake.is_padded, self._opened_config().interim_results)
            intake.advance()
            self._answers.say(findings, intake)
            self._act_on_controls()

    @property
    def _is_at_work(self) -> bool:
        """Whether the client waits for the server rather than the other way round."""
        if self._step_is_out or (self._detector is not None and self._detector.is_busy):
            return True
        return self._intake is not None and self._intake.complete_at is not None and not self._is_held

    def _findings(self, outputs: Tensors) -> Sequence[Finding]:
        """What a step found; a step of the warm-up finds what is known."""
        if self.is_warming_up:
            return ()
        task, intake = self._opened()
        try:
            return task.complete(outputs, intake.is_padded, self._opened_config().interim_results)
        except StreamerError as error:
            self.fail(error)
            raise

    def _finish(self, cancelled: bool) -> None:
        received = self._intake.received if self._intake else 0
        self._answers.put(Done(received, self._answers.segments, cancelled))
        self._close()

    def _close(self) -> None:
        self._state = SessionState.CLOSED
        self._step_is_out = False
        self._controls.clear()
        # Nothing is pending any more; the audio need not stay in memory until the host forgets the stream.
        self._task = self._intake = self._hearing = self._resuming = self._detector = self._gate = None

    def _flow(self, now: float) -> None:
        """Say where the server is, if that has changed and it was not said lately."""
        intake = self._intake
        if intake is not None and self._timers.take_flow(now, (intake.received, intake.processed)):
            self._answers.put(self._flow_message())

    def _flow_message(self) -> Flow:
        _, intake = self._opened()
        buffered_ms = 1000 * self.buffered_samples / self._opened_config().sample_rate
        return Flow(intake.received, intake.processed, buffered_ms, 1000 * self._lag_s)


def _restored_config(state: dict[str, Any]) -> Config:
    """Return the config that was written down; a stream that goes on is not resumed a second time."""
    rules, decoding, vad = Endpointing(**state["endpointing"]), Decoding.of(state["decoding"]), Vad(**state["vad"])
    return Config(**{**state, "endpointing": rules, "decoding": decoding, "vad": vad, "resume": None})
