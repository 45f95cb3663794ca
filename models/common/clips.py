"""Training clips drawn and augmented from whatever shards exist so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.common.augment import Augmentation, augment
from models.common.shards import Clip, read_shards

_SHARES = {"real": 0.6, "synthetic": 0.4}  # of the seconds drawn
_RESCAN = 2000  # draws between two looks for new shards
_BABBLE = 600  # rows


@dataclass(frozen=True)
class Source:
    """Where clips come from and how their rows are written.

    `longest`: rows of the longest clip that is used; `nepers`: nepers of power in one unit of the stored rows, which
    augmentation wants as natural logarithms.
    """

    folder: Path
    longest: int = 2000
    nepers: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)


class Stream:
    """Endless shuffled clips of one kind; new clips join at the next shuffle."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._queue: list[Clip] = []
        self.clips: list[Clip] = []
        self.seconds = 0.0

    def draw(self) -> Clip:
        """Take the next clip and count its seconds."""
        if not self._queue:
            self._queue = [self.clips[i] for i in self._rng.permutation(len(self.clips))]
        clip = self._queue.pop()
        self.seconds += clip.entry.frames / 100
        return clip

    def extend(self, clips: list[Clip]) -> None:
        """Add clips and shuffle anew."""
        if clips:
            self.clips += clips
            self._queue = []


class Clips:
    """Endless training clips, real and synthetic by their shares; the folder is scanned for new shards now and then."""

    def __init__(self, source: Source, rng: np.random.Generator) -> None:
        self._source, self._rng = source, rng
        self._streams = {kind: Stream(rng) for kind in (*_SHARES, "noise")}
        self._seen: set[Path] = set()
        self._draws = 0

    def draw(self) -> Clip:
        """Draw from the kind that is furthest behind its share of the seconds."""
        if self._draws % _RESCAN == 0:
            self._scan()
        self._draws += 1
        kinds = [kind for kind in _SHARES if self._streams[kind].clips]
        return self._streams[min(kinds, key=lambda k: self._streams[k].seconds / _SHARES[k])].draw()

    def rows(self, clip: Clip, change: Callable[[np.ndarray], np.ndarray], altered: bool) -> np.ndarray:
        """The stored rows f32[frames, mels] after `change` (say, a lead of silence), augmented if `altered`."""
        rows = change(clip.load())
        if not altered:
            return rows
        unit = self._source.nepers
        return augment(rows * np.float32(unit), self._noise(), self._source.augmentation, self._rng) / np.float32(unit)

    def _scan(self) -> None:
        new = sorted(set(self._source.folder.glob("*.jsonl")) - self._seen)
        self._seen.update(new)
        clips = [clip for clip in read_shards(new) if clip.entry.split == "train"]
        longest = self._source.longest
        for kind, stream in self._streams.items():
            stream.extend([clip for clip in clips if clip.entry.kind == kind and clip.entry.frames <= longest])
        if not self._streams["real"].clips:
            raise ValueError(f"expected shards of real training speech in {self._source.folder}, got none")

    def _noise(self) -> np.ndarray | None:
        """Rows to mix in: an environmental clip, another speaker, or none."""
        chance, augmentation = self._rng.random(), self._source.augmentation
        noise, real = self._streams["noise"].clips, self._streams["real"].clips
        if chance < augmentation.noise_share and noise:
            return self._load(noise[self._rng.integers(len(noise))])
        if chance > 1 - augmentation.babble_share:
            return np.logaddexp(*(_loop(self._load(real[self._rng.integers(len(real))]), _BABBLE) for _ in range(2)))
        return None

    def _load(self, clip: Clip) -> np.ndarray:
        return clip.load() * np.float32(self._source.nepers)


def _loop(rows: np.ndarray, frames: int) -> np.ndarray:
    return rows[np.arange(frames) % len(rows)]
