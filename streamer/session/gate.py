"""Which chunks of a recogniser hold nothing but silence and need not be run."""

from __future__ import annotations

from enum import Enum

from streamer.session.controls import Controls
from streamer.session.detector import SpeechDetector
from streamer.session.intake import Intake
from streamer.tasks.base import Task

# Beyond the silence that a recogniser needs to say its last word: sounds at the end of words are quiet.
HANGOVER_S = 0.3


class Verdict(Enum):
    """What becomes of a chunk; `WAIT` until the detector has heard more."""

    RUN = "run"
    SKIP = "skip"
    WAIT = "wait"


class SilenceGate:
    """Decides for each chunk by the speech around it, on sample positions alone: however audio comes, the same.

    A chunk is run if there may be speech in it, in one chunk's length after it, or shortly before it: words begin
    before they are heard, and a recogniser says its last word into the silence.
    """

    def __init__(self, detector: SpeechDetector, task: Task, wire_rate: int) -> None:
        self._detector = detector
        detector.keep_spans()
        self._chunk_samples = task.chunk_samples
        self._before = round((task.flush_samples / task.sample_rate + HANGOVER_S) * wire_rate)
        self._after = round(task.hop_samples / task.sample_rate * wire_rate)

    def verdict(self, intake: Intake, controls: Controls) -> Verdict:
        """Judge the next chunk of `intake`; those before it will not be judged again.

        Before a flush that is known of, nothing waits for audio after it: a chunk that needs it is run.
        """
        start, end = intake.to_wire(intake.next_end - self._chunk_samples), intake.to_wire(intake.next_end)
        self._detector.forget(start - self._before)
        needed = end + self._after
        flush = controls.flush_after(intake.next_end)
        if flush is not None:
            needed = min(needed, flush.received)
            if needed > flush.horizon:
                return Verdict.RUN
        if self._detector.has_speech(start - self._before, needed):
            return Verdict.RUN
        return Verdict.SKIP if self._detector.covered >= needed else Verdict.WAIT
