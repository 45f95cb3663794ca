"""Endless training batches: crops of speech, some noisy, some quiet, with lost and silent frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.codec.config import LOST, SILENT, Config
from models.codec.pool import Pool
from models.common import noises

# A frame is silent for discontinuous transmission below this level, in amplitude.
_SILENCE = 10 ** (-55 / 20)


class Batch(NamedTuple):
    """Audio, what the decoder is told of each frame, and how many books it gets."""

    samples: Tensor  # f32[B, T * frame_samples]
    kind: Tensor  # i64[B, T]
    count: Tensor | None  # i64[B]; None: all


@dataclass(frozen=True)
class Mixing:
    """How often items are changed. Gains in dB; loss as chances to go into and out of a burst, frame by frame."""

    frames: int = 50
    altered_gain: float = 0.5
    gain: tuple[float, float] = (-20.0, 3.0)
    noisy: float = 0.1
    snr: tuple[float, float] = (3.0, 25.0)
    noise_alone: float = 0.03
    gap: float = 0.06
    lossy: float = 0.3
    burst: tuple[float, float] = (0.05, 0.4)
    counts: tuple[tuple[int, float], ...] = ((12, 0.3), (8, 0.25), (6, 0.2), (3, 0.15))
    """Chances of numbers of books; what is missing to 1 goes to any number."""


class Mixer:
    """Draws items from a pool."""

    def __init__(self, pool: Pool, config: Config, rng: np.random.Generator, mixing: Mixing) -> None:
        self._pool, self._config, self._rng, self._mixing = pool, config, rng, mixing

    def draw(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Return samples f32[n], kinds i64[T] and a number of books."""
        rng, mixing = self._rng, self._mixing
        samples = self._pool.draw_speech(rng, mixing.frames * self._config.frame_samples)
        chance = rng.random()
        if chance < mixing.noise_alone:
            samples = self._noise(len(samples)) * (0.3 * _level(samples))
        elif chance < mixing.noise_alone + mixing.noisy:
            ratio = 10 ** (-rng.uniform(*mixing.snr) / 20)
            samples = samples + self._noise(len(samples)) * (ratio * _level(samples))
        gain = rng.uniform(*mixing.gain) if rng.random() < mixing.altered_gain else rng.uniform(-3, 3)
        samples = samples * np.float32(10 ** (gain / 20))
        if rng.random() < mixing.gap:
            samples = samples * self._gap(len(samples))
        # No microphone gives digital silence.
        samples = samples + rng.standard_normal(len(samples), dtype=np.float32) * np.float32(10 ** rng.uniform(-5, -4))
        samples = samples / max(1.0, float(np.abs(samples).max()))
        return samples, self._kinds(samples), self._count()

    def _noise(self, samples: int) -> np.ndarray:
        """Noise of about level 1, recorded or synthetic."""
        rng = self._rng
        noise = self._pool.draw_noise(rng, samples) if rng.random() < 0.5 else noises.draw(rng, samples)
        return noise / max(_level(noise), 1e-5)

    def _gap(self, samples: int) -> np.ndarray:
        """A gain f32[n] that falls to nothing for a while."""
        start, stop = np.sort(self._rng.integers(-samples // 4, samples + samples // 4, 2))
        time = np.arange(samples)
        distance = np.maximum(start - time, time - stop)
        return np.clip(distance / 160, 0, 1).astype(np.float32)

    def _kinds(self, samples: np.ndarray) -> np.ndarray:
        rng, mixing = self._rng, self._mixing
        kinds = np.zeros(mixing.frames, np.int64)
        if rng.random() < mixing.lossy:
            into, out = mixing.burst
            lost = False
            for t, chance in enumerate(rng.random(mixing.frames)):
                lost = chance < into if not lost else chance >= out
                kinds[t] = LOST if lost else 0
        level = np.sqrt(np.square(samples.reshape(mixing.frames, -1)).mean(1))
        # The overlap of the transform: a frame sounds into the one after it.
        quiet = np.convolve(level < _SILENCE, [1, 1])[: mixing.frames] == 2
        if rng.random() < 0.5:
            kinds[quiet & (kinds == 0)] = SILENT
        return kinds

    def _count(self) -> int:
        chance = self._rng.random()
        for count, share in self._mixing.counts:
            chance -= share
            if chance < 0 and count <= self._config.books:
                return count
        return int(self._rng.integers(1, self._config.books + 1))


def draw_batches(pool: Pool, config: Config, size: int, seed: int, mixing: Mixing) -> Iterator[Batch]:
    """Yield batches for ever."""
    mixer = Mixer(pool, config, np.random.default_rng(seed), mixing)
    while True:
        samples, kinds, counts = zip(*(mixer.draw() for _ in range(size)), strict=True)
        yield Batch(torch.from_numpy(np.stack(samples)), torch.from_numpy(np.stack(kinds)), torch.tensor(counts))


def _level(samples: np.ndarray) -> np.float32:
    return np.sqrt(np.square(samples).mean(dtype=np.float32))
