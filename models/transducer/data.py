"""Batches of augmented features and labels, drawn from whatever shards exist so far."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.common.clips import Clips, Source
from models.common.features import FLOOR, MELS
from models.common.shards import Clip
from models.common.text import Pieces, spell
from models.transducer.config import SUBSAMPLING

FRAMES_PER_S = 12.5
_ROUND = 4  # lengths are padded to a multiple of this
_TAIL = 2  # valid frames of silence after the speech, in which a late last word may come out
_MAX_LEAD = 16  # log-mel rows of silence before the speech
_LONGEST = 2000  # log-mel rows
_EASY_LONGEST = 500  # log-mel rows of a clip that is short


@dataclass(frozen=True)
class Curriculum:
    """What a run from nothing needs at its start, as shares of the run.

    `easy`: short clips only; `all_altered`: when every clip is augmented, after a linear rise from none; `ctc_alone`:
    CTC shapes the encoder before the transducer, which learns alignments slowly from nothing; `spelling`: a CTC head
    over letters helps, which only the start needs and which costs a tenth of the time.
    """

    easy: float = 0.06
    all_altered: float = 0.6
    ctc_alone: float = 0.06
    spelling: float = 0.1


# A run from trained weights goes straight to the full task.
CONTINUED = Curriculum(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Batch:
    """Padded features and labels; `frames` and `lengths` count what is valid."""

    log_mel: Tensor  # f32[B, 8 T, 80]
    labels: Tensor  # i64[B, U]
    frames: Tensor  # i64[B], 80 ms frames
    lengths: Tensor  # i64[B], labels
    letters: Tensor  # i64[sum of letter_lengths], the spelt texts joined
    letter_lengths: Tensor  # i64[B]

    @property
    def audio_s(self) -> float:
        """Seconds of valid audio."""
        return float(self.frames.sum()) / FRAMES_PER_S

    def to(self, device: str) -> "Batch":
        """The same batch on `device`."""
        return Batch(*(tensor.to(device) for tensor in vars(self).values()))


def collate(
    rows: list[np.ndarray], labels: list[list[int]], letters: list[list[int]], frames: int | None = None
) -> Batch:
    """Pad log-mel rows with silence and labels with zero; a short tail of silence is valid."""
    valid = [-(-len(r) // SUBSAMPLING) + _TAIL for r in rows]
    length = frames or max(valid)
    log_mel = np.full((len(rows), length * SUBSAMPLING, MELS), np.log(FLOOR), np.float32)
    # Rounded lengths keep the number of distinct shapes, and so of compiled kernels, small.
    width = -(-max((len(label) for label in labels), default=1) // _ROUND) * _ROUND
    padded = np.zeros((len(rows), max(width, 1)), np.int64)
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        log_mel[i, : len(row)] = row
        padded[i, : len(label)] = label
    return Batch(
        torch.from_numpy(log_mel),
        torch.from_numpy(padded),
        torch.tensor([min(v, length) for v in valid]),
        torch.tensor([len(label) for label in labels]),
        torch.tensor([letter for text in letters for letter in text], dtype=torch.long),
        torch.tensor([len(letter) for letter in letters]),
    )


class Batches:
    """Endless training batches of about `seconds` of audio each, twice that in the last third of a run.

    Clips wait in buckets by length until a bucket fills a batch, so that batches have few distinct shapes. The
    folder is scanned for new shards now and then. `progress` tells the share of the run that is over: its first
    few minutes hear short clips only, on which CTC leaves its first plateau far sooner, and augmentation comes in
    slowly, since a short run is limited by what it can learn, not by what it can overlearn.
    """

    def __init__(
        self, folder: Path, pieces: Pieces, progress: Callable[[], float], seconds: float = 16.0, seed: int = 0,
        curriculum: Curriculum = Curriculum(), altered: float = 1.0,
    ) -> None:  # fmt: skip
        self._altered = altered
        self._curriculum = curriculum
        self._pieces = pieces
        self._progress, self._seconds = progress, seconds
        self._rng = np.random.default_rng(seed)
        self._clips = Clips(Source(folder, _LONGEST), self._rng)
        self._buckets: dict[int, list[Clip]] = defaultdict(list)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches for ever."""
        while True:
            clip = self._clips.draw()
            if self._easy() and clip.entry.frames > _EASY_LONGEST:
                continue
            frames = self._bucket(clip)
            self._buckets[frames].append(clip)
            if len(self._buckets[frames]) >= self._batch_size(frames):
                batch = self._batch(self._buckets.pop(frames), frames)
                if batch is not None:
                    yield batch

    def _easy(self) -> bool:
        return self._progress() < self._curriculum.easy

    def _batch_size(self, frames: int) -> int:
        seconds = self._seconds * (1 if self._progress() < 2 / 3 else 2)
        return max(1, int(seconds * FRAMES_PER_S) // frames)

    def _bucket(self, clip: Clip) -> int:
        frames = -(-(clip.entry.frames + _MAX_LEAD) // SUBSAMPLING) + _TAIL
        return -(-frames // _ROUND) * _ROUND

    def _batch(self, clips: list[Clip], frames: int) -> Batch | None:
        rows, labels, letters = [], [], []
        for clip in clips:
            row, label = self._augmented(clip), self._pieces.encode(clip.entry.text)
            if label and len(label) <= len(row) // SUBSAMPLING:
                rows.append(row)
                labels.append(label)
                letters.append(spell(clip.entry.text))
        return collate(rows, labels, letters, frames) if rows else None

    def _augmented(self, clip: Clip) -> np.ndarray:
        plain = self._rng.random() * self._curriculum.all_altered > self._progress()
        altered = not plain and self._rng.random() <= self._altered
        return self._clips.rows(clip, self._led, altered)

    def _led(self, rows: np.ndarray) -> np.ndarray:
        """A random lead of silence moves the words against the grid of chunks."""
        lead = np.full((self._rng.integers(_MAX_LEAD), MELS), np.log(FLOOR), np.float32)
        return np.concatenate([lead, rows])
