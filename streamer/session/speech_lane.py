"""A stream's text on its way to audio: texts and controls in, steps out when it is time for them, audio to answers."""

from __future__ import annotations

import math
from collections import deque

from streamer.errors import InvalidRequest, TooFast
from streamer.session.answers import Answers
from streamer.session.limits import (
    MOST_WAITING_CHARS,
    SessionSettings,
    check_control,
    check_interrupt,
    check_task_control,
    check_text_size,
)
from streamer.session.messages import (
    Audio,
    Config,
    End,
    Finalize,
    Finalized,
    Interrupt,
    Interrupted,
    Text,
    Update,
)
from streamer.session.playout import Playout
from streamer.tasks.base import SpeakingTask, TaskStep
from streamer.tasks.synthesis_options import DEFAULT_LEAD_S
from streamer.tasks.voice_pacing import Pacing
from streamer.work import Tensors


class SpeechLane:
    """What `Lane` is for streams of audio and packets; it says what was made to `answers`.

    Samples are those of the audio that goes out, at the wire rate. Methods raise `InvalidRequest`, `MessageTooLarge`,
    `TooFast` or `ModelFault`, and the session is to end then.
    """

    # Streams of text have neither.
    detector = None
    resuming = None
    is_warming_up = False
    hold_back_samples = 0
    next_control = 0

    def __init__(self, config: Config, settings: SessionSettings, task: SpeakingTask, answers: Answers) -> None:
        self.task = task
        # From when a step could be made to its result; of the first one of a text, from when that came.
        self.lag_s = 0.0
        # Whether the end has been reached and all is said.
        self.is_over = False
        self._config = config
        self._settings = settings
        self._answers = answers
        encoding = config.synthesis.output_encoding or "pcm_s16le"
        self._playout = answers.playout = Playout(encoding, task.sample_rate, config.sample_rate)
        self._is_live = config.mode == "live"
        lead_s = config.synthesis.lead_s or DEFAULT_LEAD_S
        self._pacing = Pacing(task.frame_samples / task.sample_rate, lead_s if self._is_live else math.inf)
        # What came after a control that waits for the audio before it, the control first.
        self._waiting: deque[Text | Finalize | End] = deque()
        self._waiting_chars = 0
        # Since when the next step could be made; whether it is only early.
        self._since = 0.0
        self._is_early = False
        self._step_is_out = False

    @property
    def received(self) -> int:
        """Samples that were said. May be read from any thread."""
        return self._playout.said

    @property
    def heard_samples(self) -> int:
        """The same: they are what the stream has cost."""
        return self._playout.said

    @property
    def processed(self) -> int:
        """The same."""
        return self._playout.said

    @property
    def positions(self) -> tuple[int, int]:
        """No other connection goes on with the stream."""
        return 0, 0

    @property
    def buffered_samples(self) -> int:
        """How full the stream is of text, as if that was audio. May be read from any thread.

        A live stream that is too full of it is told so, and never held up: what comes after may be an `Interrupt`.
        """
        if self._is_live:
            return 0
        return (
            self._unspoken_chars * self._settings.max_ahead_ms * self._config.sample_rate // (1000 * MOST_WAITING_CHARS)
        )

    @property
    def is_at_work(self) -> bool:
        """Whether the client waits for the server rather than the other way round."""
        return self._step_is_out or self._is_early or bool(self._waiting) or self.task.has_work

    @property
    def is_early(self) -> bool:
        """Whether the next step waits until its audio is nearer to being heard."""
        return self._is_early

    def take_text(self, message: Text, now: float) -> None:
        """Take text."""
        check_text_size(message, self._settings)
        if self._unspoken_chars + len(message.text) > MOST_WAITING_CHARS and self._is_live:
            waiting = self._unspoken_chars + len(message.text)
            raise TooFast(
                f"{waiting} characters of text wait to be spoken, limit is {MOST_WAITING_CHARS}, mode file has none"
            )
        self._note_wait(now)
        if not self._waiting:
            self.task.take_text(message.text)
        elif message.text:
            self._waiting.append(message)
            self._waiting_chars += len(message.text)

    def take_audio(self, message: Audio, age_s: float, now: float) -> None:
        """Refuse audio."""
        raise InvalidRequest("expected text in a stream of task synthesize, got audio")

    def take_control(self, message: Finalize | Update | End, age_s: float, now: float) -> None:
        """Take a control, which acts once the audio of the text before it is out."""
        check_control(message, sum(not isinstance(waiting, Text) for waiting in self._waiting))
        check_task_control(message, self._config.task)
        assert not isinstance(message, Update)
        self._note_wait(now)
        self._waiting.append(message)
        if len(self._waiting) == 1:
            self.task.flush(isinstance(message, End))
        self._act_on_controls()

    def interrupt(self, message: Interrupt) -> None:
        """Drop all text and audio that was not said, and the controls that waited for it."""
        check_interrupt(message)
        self._waiting.clear()
        self._waiting_chars = 0
        self.task.interrupt()
        self._playout.restart()
        self._pacing.restart()
        self._is_early = False
        self._answers.put(Interrupted(message.id, self._playout.said))

    def next_step(self, now: float) -> TaskStep | None:
        """Return the next step to run, None while one is out, it is too early, or text is missing."""
        if self._step_is_out or self.is_over:
            return None
        if not self.task.has_work:
            # What was left of the text may have been nothing to say: controls that waited for it act now.
            self._act_on_controls()
            if self.is_over or not self.task.has_work:
                return None
        frames = self._pacing.frames(now)
        if self._is_early and frames:
            self._since = now
        self._is_early = not frames
        if not frames:
            return None
        self._step_is_out = True
        return self.task.step(frames)

    def deadline(self) -> float:
        """When the step that is out, or next, should be complete: when its listener has heard the audio before."""
        return self._pacing.deadline(self._since)

    def complete(self, outputs: Tensors, now: float) -> None:
        """Take the outputs of the step that is out."""
        if not self._step_is_out:
            raise RuntimeError("no step is out")
        said = self._playout.said
        self._answers.speak(self.task.complete(outputs))
        self._step_is_out = False
        self._pacing.made((self._playout.said - said) / self._config.sample_rate, now)
        self.lag_s, self._since = now - self._since, now
        self._act_on_controls()

    @property
    def _unspoken_chars(self) -> int:
        return self._waiting_chars + self.task.waiting_chars

    def _note_wait(self, now: float) -> None:
        """What comes at `now` may be what the next step has waited for."""
        if not (self._step_is_out or self._is_early or self.task.has_work):
            self._since = now

    def _act_on_controls(self) -> None:
        """Act on the controls whose audio is out, and go on with what came after them."""
        while self._waiting and not self._step_is_out and self.task.is_flushed:
            control = self._waiting.popleft()
            if isinstance(control, End):
                self._answers.speak(self.task.finish_segment())
                self.is_over = True
                return
            assert isinstance(control, Finalize)
            self._answers.put(Finalized(control.id, self._playout.said))
            while self._waiting and isinstance(text := self._waiting[0], Text):
                self._waiting.popleft()
                self._waiting_chars -= len(text.text)
                self.task.take_text(text.text)
            if self._waiting:
                self.task.flush(isinstance(self._waiting[0], End))
