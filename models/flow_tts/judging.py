"""Figures of everyone who speaks the held-out sentences, sentence by sentence."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from models.common import bootstrap, dnsmos, packs
from models.common.evaluation_cache import Cache, digest
from models.common.speech_level import to_level
from models.common.word_errors import word_errors
from models.flow_tts import pitch
from models.flow_tts.intelligibility import transcripts
from models.flow_tts.likeness import likeness
from models.flow_tts.speakers import Sentence, Speaker, Speech

LEVEL_DBOV = -26.0
"""To which active level all speech is brought before anything judges it."""
# Short clips are repeated to fill a window, so windows each second would hear the same again.
_DNSMOS_HOP_S = 4


@dataclass
class Measured:
    """One speaker. `scores` has a list by figure, `errors` and `words` count by sentence, `heard` is what was heard."""

    name: str
    sentences: list[str]
    seconds: list[float]
    errors: list[int]
    words: list[int]
    heard: list[str]
    scores: dict[str, list[float]] = field(default_factory=dict)

    def estimate(self, figure: str) -> bootstrap.Estimate:
        """Mean over sentences and its interval; `wer` is pooled over words."""
        if figure == "wer":
            return bootstrap.pooled(self.errors, self.words)
        return bootstrap.mean(self.scores.get(figure, ()))

    def less(self, other: "Measured", figure: str) -> bootstrap.Estimate:
        """This speaker's figure less the other's, and its interval, over the sentences that both spoke."""
        mine, theirs = self._paired(other)
        if figure == "wer":
            gaps = np.asarray(self.errors)[mine] - np.asarray(other.errors)[theirs]
            return bootstrap.pooled(gaps, np.asarray(self.words)[mine])
        if figure not in self.scores or figure not in other.scores:
            return bootstrap.mean(())
        return bootstrap.mean(np.asarray(self.scores[figure])[mine] - np.asarray(other.scores[figure])[theirs])

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def _paired(self, other: "Measured") -> tuple[list[int], list[int]]:
        shared = [name for name in self.sentences if name in other.sentences]
        return [self.sentences.index(name) for name in shared], [other.sentences.index(name) for name in shared]


class Judge:
    """Measures speakers on `sentences`; results are kept in `cache`, figures computed in so many `processes`.

    A context: the processes end with it.
    """

    def __init__(self, sentences: Sequence[Sentence], cache: Cache, processes: int) -> None:
        self.sentences = sentences
        self._cache = cache
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, get_context("spawn"))

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def measure(self, name: str, speaker: Speaker, keep: Path | None = None) -> Measured:
        """Let a speaker say every sentence, judge what is heard; the speech as it came is written to `keep`."""
        speech = [speaker(sentence.text) for sentence in self.sentences]
        if keep is not None:
            _write(keep, self.sentences, speech)
        prepared = [prepare(*each) for each in speech]
        heard = transcripts(prepared, self._cache, self._processes)
        errors, words = word_errors([sentence.words for sentence in self.sentences], heard)
        seconds = [len(samples) / rate for samples, rate in speech]
        measured = Measured(name, [s.name for s in self.sentences], seconds, errors, words, heard)
        recordings = [prepare(*sentence.recording) for sentence in self.sentences]
        judged_by = f"dnsmos {version('speechmos')} hop {_DNSMOS_HOP_S}"
        self._add(measured, judged_by, _naturalness, [(samples,) for samples in prepared])
        self._add(measured, "likeness 1", _likeness, [*zip(prepared, recordings, strict=True)])
        return measured

    def _add(
        self, measured: Measured, key: str, judge: Callable[..., dict[str, float]], inputs: Iterable[tuple]
    ) -> None:
        """Add the figures of one judge, kept under `key` and what it is given."""
        waiting = []
        for given in inputs:
            name = digest(key, *given)
            waiting.append((name, self._cache.find(name), given))
        futures = [None if found else self._pool.submit(judge, *given) for _, found, given in waiting]
        for (name, found, _), future in zip(waiting, futures, strict=True):
            figures = found if future is None else future.result()
            if future is not None:
                self._cache.put(name, figures)
            for figure, value in figures.items():
                measured.scores.setdefault(figure, []).append(value)


def prepare(samples: np.ndarray, rate: int) -> np.ndarray:
    """What is judged of f32[n]: at 16 kHz by soxr, at `LEVEL_DBOV` of active speech (ITU-T P.56), nothing cut."""
    return to_level(packs.resample(samples, rate), packs.SAMPLE_RATE, LEVEL_DBOV)


def _naturalness(samples: np.ndarray) -> dict[str, float]:
    return dnsmos.p835(samples, _DNSMOS_HOP_S) | dnsmos.p808(samples, _DNSMOS_HOP_S)


def _likeness(samples: np.ndarray, recording: np.ndarray) -> dict[str, float]:
    return likeness(samples, recording, pitch.track)


def _write(folder: Path, sentences: Sequence[Sentence], speech: Sequence[Speech]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for sentence, (samples, rate) in zip(sentences, speech, strict=True):
        soundfile.write(folder / f"{sentence.name}.wav", np.clip(samples, -1, 1), rate, "PCM_16")
