"""A stream's audio on its way through its task: messages in, steps out, findings to answers."""

from __future__ import annotations

import math
from typing import Any

from streamer.errors import InvalidRequest
from streamer.session.answers import Answers
from streamer.session.controls import Control, Controls
from streamer.session.detector import SpeechDetector
from streamer.session.gate import SilenceGate, Verdict
from streamer.session.hearing import Hearing
from streamer.session.intake import Intake
from streamer.session.limits import CODEC, SessionSettings, check_control, check_task_control
from streamer.session.messages import Audio, Config, End, Finalize, Finalized, Interrupt, Text, Update
from streamer.session.packet_intake import PacketHearing, PacketIntake
from streamer.session.playout import Playout
from streamer.session.resume_point import ResumePoint, Resumption
from streamer.session.resuming import Resuming
from streamer.tasks.base import Task, TaskStep
from streamer.tasks.codec_options import SNC1, output_of
from streamer.work import Tensors


class Lane:
    """The part of a session that is there while it is open; it says what it finds to `answers`.

    `detector` is a second lane beside it, if the config asks for one. Methods raise `InvalidRequest`,
    `MessageTooLarge`, `TooFast` or `ModelFault`, and the session is to end then.
    """

    def __init__(
        self, config: Config, settings: SessionSettings, task: Task, detector: SpeechDetector | None, answers: Answers
    ) -> None:
        self.task = task
        self.detector = detector
        self.intake: Intake | PacketIntake
        self._hearing: Hearing | PacketHearing
        if config.encoding == SNC1:
            self.intake, self._hearing = PacketIntake(), PacketHearing(config, settings)
        else:
            self.intake = Intake(config.sample_rate, task.sample_rate, task.chunk_samples, task.hop_samples)
            self._hearing = Hearing(config, settings)
        self.controls = Controls()
        # Of a resumable stream.
        self.resuming: Resuming | None = None
        self.heard_samples = 0
        self.lag_s = 0.0
        # Whether the end has been reached and all is said.
        self.is_over = False
        self._config = config
        self._answers = answers
        output = output_of(config.codec, config.encoding)
        if config.task == CODEC and output != SNC1:
            answers.playout = Playout(output, task.sample_rate, config.codec.output_rate or task.sample_rate)
        # What spares the task silence.
        self._gate: SilenceGate | None = None
        if detector is not None and config.vad.gate:
            self._gate = SilenceGate(detector, task, config.sample_rate)
        # Whether the next chunk waits until the detector has heard more.
        self._is_held = False
        # Whether a step is out; its chunk stays in the intake until it is complete.
        self._step_is_out = False

    @property
    def received(self) -> int:
        """Wire samples that came; one lane of a resumed stream may wait for later ones. May be read from any thread."""
        return self.intake.received if self.detector is None else min(self.intake.received, self.detector.received)

    @property
    def processed(self) -> int:
        """Wire samples of the chunks of the task that are done with."""
        return self.intake.processed

    @property
    def hold_back_samples(self) -> int:
        """Wire samples that resampling waits for."""
        return self.intake.hold_back_samples

    @property
    def next_control(self) -> int:
        """The number of the next `Finalize` or `Update`."""
        return self.controls.received

    @property
    def is_early(self) -> bool:
        """Audio is never too early."""
        return False

    @property
    def positions(self) -> tuple[int, int]:
        """The position of the next chunk of the task, and of the detector's; 0 without one."""
        return self.intake.start, self.detector.position if self.detector else 0

    @property
    def buffered_samples(self) -> int:
        """Wire samples received and not yet consumed by a completed step. May be read from any thread."""
        processed = self.intake.processed
        if self.detector is not None:
            processed = min(processed, self.detector.processed)
        return max(0, self.received - processed)

    @property
    def is_warming_up(self) -> bool:
        """Whether steps only bring the model up to the point where the stream was left."""
        return self.resuming is not None and self.resuming.warm_up is not None

    @property
    def is_at_work(self) -> bool:
        """Whether the client waits for the server rather than the other way round."""
        if self._step_is_out or (self.detector is not None and self.detector.is_busy):
            return True
        return self.intake.complete_at is not None and not self._is_held

    def take_audio(self, message: Audio, age_s: float, now: float) -> None:
        """Take in the audio of a stream that is `age_s` old."""
        self._hear(self._hearing.take(message, self.received, age_s), now)

    def take_control(self, message: Finalize | Update | End, age_s: float, now: float) -> None:
        """Take a control, which acts once the audio before it is done with."""
        check_control(message, len(self.controls))
        check_task_control(message, self._config.task)
        if self.resuming is not None:
            self.resuming.check_control(message, self.received)
        if isinstance(message, Update):
            position = self.intake.position
        else:
            self._settle(message, age_s, now)
            position = self.intake.flush(self.task.flush_samples, now)
        if isinstance(message, End):
            self.task.end_at(self.intake.end)
        self.controls.add(Control(message, position, self.received, self._horizon(message, now)))
        self._act_on_controls()

    def take_text(self, message: Text, now: float) -> None:
        """Refuse text."""
        raise InvalidRequest(f"expected audio in a stream of task {self._config.task}, got text")

    def interrupt(self, message: Interrupt) -> None:
        """Refuse to be interrupted."""
        raise InvalidRequest(f"expected no interrupt in a stream of task {self._config.task}, which does not speak")

    def next_step(self, now: float) -> TaskStep | None:
        """Return the next step to run, None while one is out or audio is missing."""
        if self._step_is_out:
            return None
        self._skip_silence()
        chunk: Any = None if self._is_held or self.is_over else self.intake.peek()
        if chunk is None:
            return None
        self._step_is_out = True
        warm_up = self.resuming.warm_up if self.resuming else None
        return self.task.step(chunk) if warm_up is None else warm_up.step(chunk)

    def deadline(self) -> float:
        """When the step that is out, or next, should be complete; infinite when no chunk is."""
        complete_at = self.intake.complete_at
        return math.inf if complete_at is None else complete_at + self.task.hop_samples / self.task.sample_rate

    def complete(self, outputs: Tensors, now: float) -> None:
        """Take the outputs of the step that is out."""
        if not self._step_is_out or self.intake.complete_at is None:
            raise RuntimeError("no step is out")
        self.lag_s = now - self.intake.complete_at
        findings = (
            # What a step of the warm-up finds is known.
            ()
            if self.is_warming_up
            else self.task.complete(outputs, self.intake.is_padded, self._config.interim_results)
        )
        self._step_is_out = False
        self.intake.advance()
        if self.resuming is not None:
            self.resuming.advance(self.intake.start)
        self._answers.say(findings, self.intake)
        self._act_on_controls()

    def complete_detection(self, outputs: Tensors) -> None:
        """Take the outputs of the detector's step."""
        if self.detector is None:
            raise RuntimeError("the session has no detector")
        events = self.detector.complete(outputs)
        for event in events if self._config.vad.events else ():
            self._answers.put(event)
        self._act_on_controls()

    def resume_point(self) -> ResumePoint | None:
        """Return where the stream could be taken up again, None if there can be no point after the last one now."""
        resuming = self.resuming
        if self._step_is_out or resuming is None or resuming.warm_up is not None or not resuming.has_points:
            return None
        replay = self._audio.replay(resuming.memory_samples or 0)
        detector = self.detector.point(resuming.detector_memory or 0) if self.detector else None
        if replay is None or (detector is None and self.detector is not None):
            return None
        counts = (self._answers.segments, self.controls.acted, self._answers.said)
        return ResumePoint(self.intake.start, self.intake.processed, replay, *counts, self.task.state(), detector)

    def go_on(self, resumption: Resumption, now: float) -> None:
        """Set everything to what it was at the point, but the model, which the warm-up brings there."""
        point = resumption.point
        self.resuming = Resuming(resumption)
        self.task.restore(dict(point.task))
        self._audio.go_on(point.replay, now)
        if self.detector is not None and point.detector is not None and resumption.detector is not None:
            self.detector.go_on(point.detector, resumption.detector.warm_up, now)
        self.controls.skip(point.controls)
        self._answers.go_on(point.segments, resumption.next_segment, point.said)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-compatible data, but a step that is out and what makes the stream resumable."""
        return {
            "controls": self.controls.state(),
            "task": self.task.state(),
            "intake": self._audio.state(),
            "detector": None if self.detector is None else self.detector.state(),
            "lag_s": self.lag_s,
        }

    def restore(self, state: dict[str, Any], later_s: float) -> None:
        """Continue from what `state` returned, on a clock that is `later_s` ahead of the one of then."""
        self.task.restore(state["task"])
        self._audio.restore(state["intake"], later_s)
        if self.detector is not None:
            self.detector.restore(state["detector"], later_s)
        self.controls.restore(state["controls"])
        self.lag_s = state["lag_s"]

    @property
    def _audio(self) -> Intake:
        """The intake of a stream that can be written down: one of audio."""
        if isinstance(self.intake, PacketIntake):
            raise RuntimeError("a stream of packets is not written down")
        return self.intake

    def _hear(self, heard: Any, now: float) -> None:
        """Take in what the hearing has returned: samples float32 `[n]`, or packets."""
        begin = self.received
        if isinstance(self.intake, PacketIntake):
            self.intake.take(heard, now)
        else:
            self.intake.take(heard[self.intake.received - begin :], now)
            if self.detector is not None:
                self.detector.take(heard[self.detector.received - begin :], now)
        self.heard_samples += self.received - begin

    def _settle(self, message: Finalize | End, age_s: float, now: float) -> None:
        """Take in what a decoder still holds back, and tell of audio that was cut off."""
        self._hear(self._hearing.settle(self.received, age_s), now)
        warning = self._hearing.truncation() if isinstance(message, End) else None
        if warning is not None:
            self._answers.put(warning)

    def _horizon(self, message: Finalize | Update | End, now: float) -> int:
        """Up to which wire sample the detector knows of speech without audio after `message`; the end flushes it."""
        if self.detector is None:
            return 0
        if isinstance(message, End):
            self.detector.finish(now)
            return self.received
        return self.detector.horizon

    def _skip_silence(self) -> None:
        """Skip the chunks that hold nothing but silence, up to one that is to be run or has to wait."""
        self._is_held = False
        while self._gate is not None and not self.is_over and self.intake.complete_at is not None:
            verdict = self._gate.verdict(self._audio, self.controls)
            self._is_held = verdict is Verdict.WAIT
            if verdict is not Verdict.SKIP:
                return
            findings = self.task.skip(self.intake.is_padded, self._config.interim_results)
            self.intake.advance()
            self._answers.say(findings, self.intake)
            self._act_on_controls()

    def _act_on_controls(self) -> None:
        """Act on the controls whose audio is done with. None that came after a chunk was complete acts before it."""
        may_end = self.detector is None or self.detector.is_drained
        while not self.is_warming_up and (control := self.controls.next_due(self.intake.next_end, may_end)):
            match control.message:
                case Update(endpointing):
                    self.task.update(endpointing)
                case Finalize(id):
                    self._answers.say(self.task.finish_segment(), self.intake)
                    self._forget(control.position)
                    self._answers.put(Finalized(id, control.received))
                case End():
                    self._answers.say(self.task.finish_segment(), self.intake)
                    self.is_over = True

    def _forget(self, position: int) -> None:
        """No word before `position` will be asked for; a point may still need how the audio was cut."""
        resuming = self.resuming
        self.intake.forget(position if resuming is None else resuming.keeps_from(position, self.intake.start))
