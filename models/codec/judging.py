"""Puts recordings through codecs and measures what comes out, clip by clip."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from models.codec import quality
from models.codec.coded_cache import CodedCache
from models.codec.peers.coded import SAMPLE_RATE, Coded, System
from models.common import packs
from models.common.evaluation_cache import digest
from models.common.served_words import Spoken, listen
from models.common.word_errors import word_errors

JUDGES = "clean_speech"
"""The pack whose dev speakers nothing was trained or chosen on."""
_WORDS_OF = ("--beam", "8")


@dataclass(frozen=True)
class Clip:
    """A recording f32[n] at 16 kHz and who speaks."""

    speaker: str
    samples: np.ndarray


@dataclass
class Measured:
    """One codec at one rate over a set of clips.

    `scores` has a list by figure, one number per clip; `errors` and `words` count by clip of the recognition set.
    `lag_samples` is the codec's delay. Rates are pooled over the clips.
    """

    name: str
    family: str
    key: str
    payload_kbps: float
    wire_kbps: float | None
    lag_samples: int
    scores: dict[str, list[float]] = field(default_factory=dict)
    errors: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)

    def mean(self, figure: str) -> float:
        """Mean over clips; `wer` is pooled over words. Not a number if it was not measured."""
        if figure == "wer":
            return sum(self.errors) / sum(self.words) if self.words else float("nan")
        return float(np.nanmean(self.scores[figure])) if figure in self.scores else float("nan")

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def judging_clips(data: Path) -> list[Clip]:
    """The lossless clips of the speakers that nothing else knows, one clip a speaker."""
    found = packs.read_pack(data / f"{JUDGES}.tar", "dev")
    return [Clip(utterance.speaker, packs.resample(samples, rate)) for utterance, samples, rate in found]


class Judge:
    """Measures systems on `clips`; results are kept in `cache`."""

    def __init__(self, clips: Sequence[Clip], cache: CodedCache, processes: int) -> None:
        self.clips = clips
        self._cache = cache
        self._pool = ProcessPoolExecutor(processes, get_context("spawn"))

    def measure(self, system: System, metrics: Sequence[str]) -> Measured:
        """Code every clip, find the delay, and compute the `metrics` (names of `quality.METRICS`)."""
        coded = [self._cache.coded(system, clip.samples) for clip in self.clips]
        pairs = [(clip.samples, each.samples) for clip, each in zip(self.clips, coded, strict=True)]
        late = self._cache.get(digest("lag", *(array for pair in pairs for array in pair)), lambda: quality.lag(pairs))
        seconds = sum(len(clip.samples) for clip in self.clips) / SAMPLE_RATE
        measured = Measured(system.name, system.family, system.key, *_kbps(coded, seconds), late)
        for metric in metrics:
            for figures in self._scores(pairs, late, metric):
                for name, value in figures.items():
                    measured.scores.setdefault(name, []).append(value)
        return measured

    def _scores(self, pairs: Sequence[quality.Pair], late: int, metric: str) -> list[dict[str, float]]:
        keys = [digest(_version_of(metric), late, *pair) for pair in pairs]
        found = [self._cache.find(key) for key in keys]
        new = [index for index, figures in enumerate(found) if figures is None]
        waiting = [self._pool.submit(quality.score, *pairs[index], late, (metric,)) for index in new]
        for index, future in zip(new, waiting, strict=True):
            figures = future.result()
            found[index] = figures
            self._cache.put(keys[index], figures)
        return found


class Listener:
    """Counts the word errors of a recogniser, served as ever, on recordings that went through a codec."""

    def __init__(self, spoken: Sequence[Spoken], bundle: Path, cache: CodedCache) -> None:
        self._spoken = spoken
        self._bundle = bundle
        self._cache = cache
        self._recogniser = digest((bundle / "manifest.json").read_bytes())

    def hear(self, system: System, late: int) -> tuple[list[int], list[int]]:
        """Errors and words of each recording; the delay is taken off first, so that no end is lost."""
        decoded = [
            Spoken(item.text, self._cache.coded(system, item.samples).samples[max(late, 0) :]) for item in self._spoken
        ]
        key = digest("words", self._recogniser, _WORDS_OF, *(item.samples for item in decoded))
        texts = self._cache.get(key, lambda: [heard.text for heard in listen(decoded, self._bundle, _WORDS_OF)[0]])
        return word_errors([item.text for item in decoded], texts)


def original() -> System:
    """No codec at all: what the recordings themselves score."""
    return System("original", "original", "original", lambda samples: Coded(samples, 16 * len(samples)))


def _kbps(coded: Sequence[Coded], seconds: float) -> tuple[float, float | None]:
    payload = sum(each.payload_bits for each in coded) / seconds / 1000
    sizes = [each.wire_bytes for each in coded]
    return payload, None if None in sizes else 8 * sum(sizes) / seconds / 1000


def _version_of(metric: str) -> str:
    package = {"stoi": "pystoi", "visqol": "visqol-python", "dnsmos": "speechmos", "plcmos": "speechmos"}
    name = package.get(metric, metric)
    settings = " hop 4" if metric == "dnsmos" else ""
    return f"{metric}{settings} {name} {version(name)}"
