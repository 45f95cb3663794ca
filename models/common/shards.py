"""Feature shards: float16 log-mel rows in one .npy and an index in one .jsonl, memory-mapped."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Entry:
    """One utterance inside a shard; `kind` is real, synthetic or noise."""

    text: str
    kind: str
    split: str
    pack: str
    speaker: str
    offset: int = 0
    frames: int = 0


@dataclass(frozen=True)
class Clip:
    """An entry and the memory-mapped rows it points at."""

    entry: Entry
    rows: np.ndarray

    def load(self) -> np.ndarray:
        """Read the log-mel rows as f32[frames, mels]."""
        return self.rows[self.entry.offset : self.entry.offset + self.entry.frames].astype(np.float32)


class ShardWriter:
    """Collects utterances and writes a shard whenever `limit` frames are full."""

    def __init__(self, folder: Path, name: str, limit: int = 180_000) -> None:
        self._folder, self._name, self._limit = folder, name, limit
        self._rows: list[np.ndarray] = []
        self._entries: list[Entry] = []
        self._frames = 0
        self._written = 0

    def add(self, entry: Entry, rows: np.ndarray) -> None:
        """Append log-mel rows f32[frames, mels] of one utterance."""
        self._entries.append(replace(entry, offset=self._frames, frames=len(rows)))
        self._rows.append(rows.astype(np.float16))
        self._frames += len(rows)
        if self._frames >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Write what is collected; the index comes last, so a listed shard is complete."""
        if not self._entries:
            return
        path = self._folder / f"{self._name}-{self._written:03d}"
        np.save(path.with_suffix(".npy"), np.concatenate(self._rows))
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in self._entries))
        partial.rename(path.with_suffix(".jsonl"))
        self._rows, self._entries, self._frames = [], [], 0
        self._written += 1


def read_shards(paths: Iterable[Path]) -> list[Clip]:
    """Open the shards whose index files are `paths`."""
    return [clip for path in paths for clip in _read_shard(path)]


def _read_shard(path: Path) -> list[Clip]:
    rows = np.load(path.with_suffix(".npy"), mmap_mode="r")
    return [Clip(Entry(**json.loads(line)), rows) for line in path.read_text().splitlines()]
