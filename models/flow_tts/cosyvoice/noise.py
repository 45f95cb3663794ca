"""The noise of a stream, made outside of the graphs: numbers that depend on its seed and on their frame alone."""

from typing import Protocol

import numpy as np

from models.flow_tts.cosyvoice.config import FRAME, MELS
from streamer.tasks.voice_noise import Noise as Kind
from streamer.tasks.voice_noise import normals, uniforms


class Noise(Protocol):
    """What the flow begins with, and what the source is mixed with."""

    def flow(self, first: int, count: int) -> np.ndarray:
        """Standard normal f32[count, 80] from frame `first` on, counted from the prompt's start."""

    def source(self, first: int, count: int) -> np.ndarray:
        """For each sample and harmonic, f32[count, 480, harmonics] from frame `first` on, counted after the prompt."""


class Seeded:
    """By Philox, which numbers its outputs. `kind` of the source: "normal", or "uniform" from 0 to 1."""

    def __init__(self, seed: int, kind: str, harmonics: int) -> None:
        self._seed, self._kind, self._harmonics = seed, kind, harmonics

    def flow(self, first: int, count: int) -> np.ndarray:
        """See `Noise`."""
        return normals(self._seed, Kind.FLOW, first, count, MELS)

    def source(self, first: int, count: int) -> np.ndarray:
        """See `Noise`."""
        width = FRAME * self._harmonics
        draw = normals if self._kind == "normal" else uniforms
        return draw(self._seed, Kind.WAVE, first, count, width).reshape(count, FRAME, self._harmonics)


class Upstream(Seeded):
    """That of the upstream package for the flow: rows f32[15000, 80] drawn once, the bundle's asset `flow_noise`."""

    def __init__(self, rows: np.ndarray, seed: int, kind: str, harmonics: int) -> None:
        super().__init__(seed, kind, harmonics)
        self._rows = rows

    def flow(self, first: int, count: int) -> np.ndarray:
        """See `Noise`; raises `ValueError` beyond the last row."""
        if first + count > len(self._rows):
            raise ValueError(f"expected at most {len(self._rows)} frames of prompt and speech, got more")
        return self._rows[first : first + count]
