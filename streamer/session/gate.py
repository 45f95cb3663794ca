"""Which chunks of a recogniser hold nothing but silence and need not be run."""

from __future__ import annotations

from enum import Enum

from streamer.session.detector import SpeechDetector
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
        self._before = round((task.flush_samples / task.sample_rate + HANGOVER_S) * wire_rate)
        self._after = round(task.hop_samples / task.sample_rate * wire_rate)

    def verdict(self, start: int, end: int, flushed: int | None, horizon: int) -> Verdict:
        """Judge the chunk of wire samples `start` to `end`.

        `flushed` is where the audio is cut by a flush that the chunk comes before, if one is known; the detector will
        know of speech up to `horizon` without any audio after that cut. What it cannot know, no chunk is skipped for.
        """
        needed = end + self._after
        if flushed is not None:
            needed = min(needed, flushed)
            if needed > horizon:
                return Verdict.RUN
        if self._detector.has_speech(start - self._before, needed):
            return Verdict.RUN
        return Verdict.SKIP if self._detector.covered >= needed else Verdict.WAIT

    def forget(self, start: int) -> None:
        """No chunk before the one that begins at `start` will be judged again."""
        self._detector.forget(start - self._before)
