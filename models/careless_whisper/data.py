"""Batches of normalised mel rows and texts, drawn from whatever shards exist so far."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.careless_whisper.features import FLOOR, SILENT, offline, running
from models.careless_whisper.texts import Texts
from models.common.augment import Augmentation
from models.common.clips import Clips, Source
from models.common.shards import Clip
from models.common.text import spell

FRAMES_PER_S = 50
CALL_ROWS = 30
"""Rows between two looks at the loudest so far, in training: chunks of 300 ms."""
_ROUND = 25  # lengths in frames are padded to a multiple of this
_SHORT_LEAD, _LONG_LEAD, _LONG_SHARE = 24, 130, 0.15  # rows of silence before the speech
_TAIL = (10, 90)  # rows of silence after it
_OFFLINE_SHARE = 0.3
"""Of the clips: normalised by their own maximum, as if loud speech had been heard in the stream before."""


@dataclass(frozen=True)
class Curriculum:
    """Shares of a run: `easy`, clips of at most `longest_s` alone; `all_altered`, until all clips are augmented."""

    easy: float = 0.08
    all_altered: float = 0.5
    longest_s: float = 5.0


@dataclass(frozen=True)
class Batch:
    """Padded mel rows, and texts."""

    mel: Tensor  # f32[B, mels, 2 T + 1], normalised
    frames: Tensor  # i64[B], encoder frames of 20 ms that are not padding
    words: list[list[list[int]]]
    letters: list[Tensor]  # i64[n] each

    @property
    def audio_s(self) -> float:
        """Seconds of audio."""
        return float(self.frames.sum()) / FRAMES_PER_S


def collate(rows: list[np.ndarray], said: list[str], texts: Texts, whole: np.ndarray | None = None) -> Batch:
    """Pad log10 mel rows f32[n, mels] with silence and normalise them, as a stream does or, where `whole`, offline."""
    longest = max(len(row) for row in rows)
    frames = -(-longest // (2 * _ROUND)) * _ROUND
    mel = torch.full((len(rows), 2 * frames + 1, rows[0].shape[1]), SILENT)
    for i, row in enumerate(rows):
        mel[i, : len(row)] = torch.from_numpy(row)
    streamed = running(mel, CALL_ROWS)
    if whole is not None and whole.any():
        chosen = torch.from_numpy(whole)
        streamed[chosen] = offline(mel[chosen])
    return Batch(
        streamed.transpose(1, 2).contiguous(),
        torch.tensor([-(-len(row) // 2) for row in rows]),
        [texts.words(text) for text in said],
        [torch.tensor(spell(text), dtype=torch.long) for text in said],
    )


class Batches:
    """Endless training batches of about `seconds` of audio each, twice that in the last third of a run.

    Clips wait in buckets by length until a bucket fills a batch. `progress` tells the share of the run that is over.
    """

    def __init__(
        self, folder: Path, texts: Texts, progress: Callable[[], float], seconds: float = 16.0,
        seed: int = 0, curriculum: Curriculum = Curriculum(),
    ) -> None:  # fmt: skip
        self._texts, self._curriculum = texts, curriculum
        self._progress, self._seconds = progress, seconds
        self._rng = np.random.default_rng(seed)
        # Stored rows are decimal logarithms.
        source = Source(folder, nepers=math.log(10), augmentation=Augmentation(floor=FLOOR))
        self._clips = Clips(source, self._rng)
        self._buckets: dict[int, list[Clip]] = defaultdict(list)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches for ever."""
        while True:
            clip = self._clips.draw()
            seconds = clip.entry.frames / 100
            if not clip.entry.text or (self._easy() and seconds > self._curriculum.longest_s):
                continue
            bucket = clip.entry.frames // (2 * _ROUND)
            self._buckets[bucket].append(clip)
            if (len(self._buckets[bucket]) + 1) * (seconds + 1) > self._batch_seconds():
                yield self._batch(self._buckets.pop(bucket))

    def _easy(self) -> bool:
        return self._progress() < self._curriculum.easy

    def _batch_seconds(self) -> float:
        return self._seconds * (1 if self._progress() < 2 / 3 else 2)

    def _batch(self, clips: list[Clip]) -> Batch:
        rows = [self._clips.rows(clip, self._surrounded, self._altered()) for clip in clips]
        whole = self._rng.random(len(clips)) < _OFFLINE_SHARE
        return collate(rows, [clip.entry.text for clip in clips], self._texts, whole)

    def _altered(self) -> bool:
        return bool(self._rng.random() * self._curriculum.all_altered < self._progress())

    def _surrounded(self, rows: np.ndarray) -> np.ndarray:
        """Silence before and after: the lead moves the words against the chunks and along the window's positions."""
        longest = _LONG_LEAD if self._rng.random() < _LONG_SHARE else _SHORT_LEAD
        lead, tail = self._rng.integers(longest), self._rng.integers(*_TAIL)
        return np.pad(rows, ((lead, tail), (0, 0)), constant_values=SILENT).astype(np.float32)
