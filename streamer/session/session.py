"""The protocol of one stream: client messages and step results in, steps and server messages out.

No socket, thread, clock or model is known here: whoever owns the session passes the time, runs the steps and carries
the messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from enum import Enum
from typing import Any, cast

from streamer.errors import InvalidRequest, StreamerError
from streamer.session.answers import Answers
from streamer.session.detector import SpeechDetector
from streamer.session.hearing import longest_ms
from streamer.session.lane import Lane
from streamer.session.limits import SYNTHESIZE, SessionSettings, check_config, check_snapshot
from streamer.session.messages import (
    Audio,
    Cancel,
    ClientMessage,
    CodecOptions,
    Config,
    Done,
    End,
    Finalize,
    Flow,
    Interrupt,
    KeepAlive,
    Ready,
    ServerMessage,
    SynthesisOptions,
    Text,
    Update,
)
from streamer.session.resume_point import ResumePoint, Resumption
from streamer.session.resuming import Resuming
from streamer.session.speech_lane import SpeechLane
from streamer.session.timers import Timers
from streamer.tasks.base import SpeakingTask, Task, TaskStep
from streamer.tasks.decoding import Decoding
from streamer.tasks.detection import Vad
from streamer.tasks.endpoint import Endpointing
from streamer.work import Tensors

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
        # From `open` until the session is closed.
        self._lane: Lane | SpeechLane | None = None
        self._model = ""
        self._answers = Answers()
        self._timers = Timers(settings)
        # Of a closed session.
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
        lane = self._lane
        return lane.buffered_samples if lane else 0

    @property
    def heard_s(self) -> float:
        """Seconds of audio that came, replayed ones too. May be read from any thread, also after the end."""
        lane = self._lane
        heard = lane.heard_samples if lane else self._heard_samples
        return heard / self._config.sample_rate if self._config else 0.0

    @property
    def lag_s(self) -> float:
        """From the arrival of the last sample that the last step needed to its result."""
        return self._lane.lag_s if self._lane else self._lag_s

    @property
    def is_warming_up(self) -> bool:
        """Whether steps only bring the model of a resumed stream up to the point where the stream was left."""
        return self._lane is not None and self._lane.is_warming_up

    @property
    def is_detector_warming_up(self) -> bool:
        """The same of the detector's steps."""
        detector = self._lane.detector if self._lane else None
        return detector is not None and detector.is_warming_up

    def longest_ms(self, message: Audio | Text) -> float:
        """How much audio a message may hold, before it is decoded. May be called from any thread."""
        return 0.0 if self._config is None else longest_ms(message, self._config, self._settings)

    @property
    def speaks(self) -> bool:
        """Whether text comes in and audio goes out, and nobody waits for last words. May be read from any thread."""
        return self._config is not None and self._config.task == SYNTHESIZE

    @property
    def is_early(self) -> bool:
        """Whether the next step waits for nothing but time: `next_step` is to be asked again now and then."""
        return self._lane is not None and self._lane.is_early

    def receive(self, message: ClientMessage, now: float) -> None:
        """Take a message that arrived at `now`.

        Raises `InvalidRequest`, `MessageTooLarge` or `TooFast`, and closes, when the protocol does not allow it.
        """
        self._timers.note(now, is_activity=True)
        with self._ending():
            self._check_order(message)
            self._dispatch(message, now)

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
        self._model = model
        if self._config.task == SYNTHESIZE:
            speaker = cast("SpeakingTask", task)
            self._lane = SpeechLane(self._config, self._settings, speaker, self._answers)
        else:
            self._lane = Lane(self._config, self._settings, task, detector, self._answers)
        self._timers.open(now, resumption.age_s if resumption else 0.0)
        self._state = SessionState.OPEN
        if resumption is not None:
            self._hearing().go_on(resumption, now)
        self._answers.put(self._ready())

    def next_step(self, now: float) -> TaskStep | None:
        """Return the next step to run, None while one is out or audio is missing."""
        self._timers.note(now)
        step = None
        with self._ending():
            if self._lane is not None:
                step = self._lane.next_step(now)
        return step

    def next_detection(self) -> TaskStep | None:
        """Return the next step of the detector, None without one, while one is out or when audio is missing.

        To be asked for before `next_step`, which may have to wait for what the detector says.
        """
        detector = self._lane.detector if self._lane else None
        return None if detector is None else detector.next_step()

    def detection_deadline(self) -> float:
        """When the detector's step that is out, or next, should be complete."""
        detector = self._lane.detector if self._lane else None
        return math.inf if detector is None else detector.deadline()

    def complete_detection(self, outputs: Tensors, now: float) -> None:
        """Take the outputs of the detector's step; as `complete`, and `next_step` may have one to run afterwards."""
        if self.closed:
            return
        self._timers.note(now, is_activity=True)
        with self._ending():
            self._hearing().complete_detection(outputs)

    def deadline(self) -> float:
        """When the step that is out, or next, should be complete: one hop after its last sample arrived.

        Infinite when no chunk is complete.
        """
        return self._lane.deadline() if self._lane else math.inf

    def complete(self, outputs: Tensors, now: float) -> None:
        """Take the outputs of the step that is out. After the session has closed they are dropped.

        Raises `ModelFault`, and closes, when they are not what the manifest promises.
        """
        if self.closed:
            return
        self._timers.note(now, is_activity=True)
        with self._ending():
            self._opened().complete(outputs, now)
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
        with self._ending():
            is_at_work = self._lane is not None and self._lane.is_at_work
            self._timers.check(now, is_at_work, self._state is SessionState.OPEN)
        self._flow(now)

    def take_messages(self) -> list[ServerMessage]:
        """Return what is to be sent, in order, and forget it."""
        return self._answers.take()

    def resume_point(self, now: float) -> ResumePoint | None:
        """Return where the stream could be taken up again, if it is time for a point and there can be one.

        The model's state at the point is the one that it has now.
        """
        lane = self._lane
        if lane is None or lane.resuming is None or lane.positions == lane.resuming.point.positions:
            return None
        return lane.resume_point() if self._timers.take_point(now) else None

    def keep_token(self, token: str, point: ResumePoint, now: float) -> None:
        """Tell the client the `token` of `point`, the last one that `resume_point` returned."""
        if self._lane is not None and self._lane.resuming is not None:
            self._lane.resuming.keep(token, point)
            flow = self._flow_message(self._lane)
            self._timers.flow_said(now, (flow.received_sample, flow.processed_sample))
            acked = point.wire_sample
            self._answers.put_last(replace(flow, acked_sample=acked, acked_controls=point.controls, resume_token=token))

    def snapshot(self) -> dict[str, Any]:
        """Return the stream as JSON-compatible data. Only an open or flushing session has one.

        A step that is out is not part of it: the restored session asks for the same step again, so it belongs with
        model states from before that step. Messages not yet taken are not part of it either: take them first. Nor is
        what makes a stream resumable: see `take_up`.
        """
        if self.closed:
            raise RuntimeError("a closed session has no snapshot")
        lane, config = self._hearing(), self._opened_config()
        check_snapshot(config)
        return {
            "version": SNAPSHOT_VERSION,
            "session_id": self.session_id,
            "config": asdict(config),
            "model": self._model,
            "state": self._state.value,
            "answers": self._answers.state(),
            "timers": self._timers.state(),
            **lane.state(),
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
        session._model = snapshot["model"]
        session._state = SessionState(snapshot["state"])
        session._answers.restore(snapshot["answers"])
        lane = session._lane = Lane(session._config, settings, task, detector, session._answers)
        lane.restore(snapshot, session._timers.restore(snapshot["timers"], now))
        return session

    def take_up(self, resumption: Resumption, now: float) -> bool:
        """Make a restored stream resumable again, for a client that has what its token and `next_segment` say.

        Says `Ready`, for audio and controls after the snapshot, and what the client lacks; returns False, and says
        nothing, if that is not known any more.
        """
        point, lane = resumption.point, self._hearing()
        is_behind = any(here < there for here, there in zip(lane.positions, point.positions, strict=True))
        is_behind |= resumption.next_segment > self._answers.segments
        if is_behind or not self._answers.can_repeat(point.said):
            return False
        lane.resuming = Resuming(resumption, is_warm=True)
        self._timers.open(now, resumption.age_s)
        self._answers.put(self._ready())
        self._answers.repeat(point.said, resumption.next_segment)
        return True

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Close the session if the end is reached inside, or with what is raised there."""
        try:
            yield
        except StreamerError as error:
            self.fail(error)
            raise
        if self._lane is not None and self._lane.is_over:
            self._finish(cancelled=False)

    def _opened(self) -> Lane | SpeechLane:
        if self._lane is None:
            raise RuntimeError("the session is not open yet")
        return self._lane

    def _hearing(self) -> Lane:
        lane = self._opened()
        if isinstance(lane, SpeechLane):
            raise RuntimeError("a stream of text has no detector and is not written down")
        return lane

    def _opened_config(self) -> Config:
        if self._config is None:
            raise RuntimeError("the session has no config yet")
        return self._config

    def _ready(self) -> Ready:
        lane = self._opened()
        task = lane.task
        wire_rate = self._opened_config().sample_rate
        to_ms = 1000 / task.sample_rate
        playout = self._answers.playout
        delay_samples = task.delay_samples + (playout.hold_back_samples if playout else 0)
        return Ready(
            session_id=self.session_id,
            model=self._model,
            wire_rate=wire_rate,
            model_rate=task.sample_rate,
            chunk_ms=task.hop_samples * to_ms,
            delay_ms=delay_samples * to_ms + 1000 * lane.hold_back_samples / wire_rate,
            limits=self._settings.limits(),
            next_sample=lane.received,
            next_control=lane.next_control,
            resume_token=lane.resuming.token if lane.resuming else None,
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
                self._opened().take_audio(message, self._timers.age_s(now), now)
            case Text():
                self._opened().take_text(message, now)
            case Interrupt():
                self._opened().interrupt(message)
            case Finalize() | Update() | End():
                self._take_control(message, now)
            case Cancel():
                self._finish(cancelled=True)
            case KeepAlive():
                pass
            case _:
                raise InvalidRequest(f"unknown message {type(message).__name__.lower()}")

    def _take_control(self, message: Finalize | Update | End, now: float) -> None:
        self._opened().take_control(message, self._timers.age_s(now), now)
        if isinstance(message, End):
            self._state = SessionState.FLUSHING

    def _finish(self, cancelled: bool) -> None:
        received = self._lane.received if self._lane else 0
        self._answers.put(Done(received, self._answers.segments, cancelled))
        self._close()

    def _close(self) -> None:
        self._state = SessionState.CLOSED
        if self._lane is not None:
            self._lag_s, self._heard_samples = self._lane.lag_s, self._lane.heard_samples
        # Nothing is pending any more; the audio need not stay in memory until the host forgets the stream.
        self._lane = None

    def _flow(self, now: float) -> None:
        """Say where the server is, if that has changed and it was not said lately."""
        lane = self._lane
        if lane is not None and self._timers.take_flow(now, (lane.received, lane.processed)):
            self._answers.put(self._flow_message(lane))

    def _flow_message(self, lane: Lane | SpeechLane) -> Flow:
        buffered_ms = 1000 * lane.buffered_samples / self._opened_config().sample_rate
        return Flow(lane.received, lane.processed, buffered_ms, 1000 * lane.lag_s)


def _restored_config(state: dict[str, Any]) -> Config:
    """Return the config that was written down; a stream that goes on is not resumed a second time."""
    rules, decoding, vad = Endpointing(**state["endpointing"]), Decoding.of(state["decoding"]), Vad(**state["vad"])
    # Streams of packets and of text have no snapshot: there is nothing to go on with.
    others = {"resume": None, "codec": CodecOptions(), "synthesis": SynthesisOptions()}
    return Config(**{**state, "endpointing": rules, "decoding": decoding, "vad": vad, **others})
