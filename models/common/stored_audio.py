"""Decoded audio of many clips in one memory-mapped file of 16-bit samples: written once, read at random."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

NAME = "samples.i16"
"""Of the file in the folder of a pool."""


class AudioWriter:
    """Appends clips to `folder/samples.i16` while its `with` lasts; `position` counts the samples so far."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / NAME).open("wb")
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def append(self, samples: np.ndarray) -> int:
        """Write f32[n], clipped to full scale; return where it starts."""
        start = self.position
        self._file.write(np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())
        self.position += len(samples)
        return start


class StoredAudio:
    """Reads what an `AudioWriter` wrote."""

    def __init__(self, folder: Path) -> None:
        self._samples = np.memmap(folder / NAME, np.int16, "r")

    def read(self, start: int, length: int) -> np.ndarray:
        """Return f32[length]."""
        return self._samples[start : start + length].astype(np.float32) / 32768
