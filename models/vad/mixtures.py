"""Mixes of clean speech, pauses, noise, rooms and levels, with labels from the clean speech alone."""

from dataclasses import dataclass

import numpy as np

from models.common import noises
from models.common.features import HOP
from models.vad.config import SUBSAMPLING
from models.vad.pool import Pool

RATE = 16_000
_SPEEDS = (0.85, 0.92, 1.08, 1.18)
# What a final level below full scale is drawn from, in dB of the whole mix.
_LEVELS_DB = (-50.0, -12.0)


@dataclass(frozen=True)
class Mixing:
    """Shares and ranges of a random mix."""

    seconds: float = 8.0
    noise_alone: float = 0.15
    quiet: float = 0.1
    real_noise: float = 0.6
    two_noises: float = 0.25
    room: float = 0.35
    other_speed: float = 0.4
    altered_noise: float = 0.0
    narrow_band: float = 0.15
    snr_db: tuple[float, float] = (-5.0, 30.0)


class Mixer:
    """Draws mixes from a pool."""

    def __init__(self, pool: Pool, rng: np.random.Generator, mixing: Mixing = Mixing()) -> None:
        self._pool, self._rng, self._mixing = pool, rng, mixing
        self._samples = int(mixing.seconds * RATE) // (HOP * SUBSAMPLING) * HOP * SUBSAMPLING

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a mix f32[n] and whether each row of 10 ms is speech, bool[n // 160]."""
        rng, mixing = self._rng, self._mixing
        mix, rows = np.zeros(self._samples, np.float32), np.zeros(self._samples // HOP, bool)
        if rng.random() > mixing.noise_alone:
            mix, rows = self._speech()
        if rng.random() > mixing.quiet or not rows.any():
            mix = add_noise(mix, rows, self._noise(), rng.uniform(*mixing.snr_db))
        if rng.random() < mixing.narrow_band:
            mix = _band(mix, rng.uniform(50, 400), rng.uniform(3000, 4000))
        return at_level(mix, rng.uniform(*_LEVELS_DB)), rows

    def _speech(self) -> tuple[np.ndarray, np.ndarray]:
        """Excerpts of clips with pauses between them, each speaker in his own room at his own level."""
        rng, mix, rows = self._rng, np.zeros(self._samples, np.float32), np.zeros(self._samples // HOP, bool)
        row = int(rng.uniform(-2, 3) / 0.01)
        while row < len(rows):
            samples, speech = self._excerpt()
            first, last = max(row, 0), min(row + len(speech), len(rows))
            if first < last:
                inner = slice(first - row, last - row)
                rows[first:last] = speech[inner]
                mix[first * HOP : last * HOP] = samples[inner.start * HOP : inner.stop * HOP]
            row += len(speech) + int(100 * rng.exponential(1.0))
        return mix, rows

    def _excerpt(self) -> tuple[np.ndarray, np.ndarray]:
        rng, mixing = self._rng, self._mixing
        samples, speech = self._pool.load(self._pool.speech[rng.integers(len(self._pool.speech))])
        rows = int(100 * rng.uniform(1, 7))
        start = int(rng.integers(max(1, len(speech) - rows)))
        samples, speech = samples[start * HOP : (start + rows) * HOP], speech[start : start + rows]
        if rng.random() < mixing.other_speed:
            samples, speech = _at_speed(samples, speech, _SPEEDS[rng.integers(len(_SPEEDS))])
        if rng.random() < mixing.room:
            samples = noises.reverberate(samples, rng)
        return at_level(samples, rng.uniform(-4, 4)), speech

    def _noise(self) -> np.ndarray:
        rng = self._rng
        noise = self._one_noise()
        if rng.random() < self._mixing.two_noises:
            noise = at_level(noise, 0) + at_level(self._one_noise(), rng.uniform(-15, 0))
        return noise

    def _one_noise(self) -> np.ndarray:
        rng = self._rng
        if rng.random() > self._mixing.real_noise:
            return noises.draw(rng, self._samples)
        clip, _ = self._pool.load(self._pool.noise[rng.integers(len(self._pool.noise))])
        if rng.random() < self._mixing.altered_noise:
            clip = _altered(clip, rng)
        return looped(clip, self._samples, int(rng.integers(len(clip))))


def add_noise(mix: np.ndarray, rows: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add `noise` so many dB below the power of the speech rows; alone if there is no speech."""
    power = float((noise**2).mean()) + 1e-12
    if not rows.any():
        return noise
    speech = mix.reshape(-1, HOP)[rows]
    return mix + noise * np.float32(np.sqrt(float((speech**2).mean()) / power * 10 ** (-snr_db / 10)))


def at_level(samples: np.ndarray, level_db: float) -> np.ndarray:
    """Scale f32[n] to a power of `level_db` below full scale, clipped there; silence stays."""
    rms = float(np.sqrt((samples**2).mean()))
    if rms < 1e-7:
        return samples
    return (samples * np.float32(10 ** (level_db / 20) / rms)).clip(-1e3, 1e3)


def looped(samples: np.ndarray, length: int, start: int) -> np.ndarray:
    """Repeat f32[n] from `start` on until there are `length` samples."""
    return samples[(start + np.arange(length)) % len(samples)]


def frames_of(rows: np.ndarray) -> np.ndarray:
    """Labels of rows of 10 ms to labels of frames of 20 ms: speech if either row is."""
    return rows[: len(rows) // SUBSAMPLING * SUBSAMPLING].reshape(-1, SUBSAMPLING).any(1)


def _at_speed(samples: np.ndarray, speech: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """Play faster or slower by linear interpolation; pitch moves along."""
    rows = int(len(speech) / speed)
    at = np.minimum(np.arange(rows * HOP) * speed, len(samples) - 1)
    played = np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
    return played, speech[np.minimum((np.arange(rows) * speed).astype(int), len(speech) - 1)]


def _altered(noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make another noise of the same kind: played at 0.6 to 1.6 times the speed, and brighter or darker."""
    length = int(len(noise) / rng.uniform(0.6, 1.6))
    played = np.interp(np.linspace(0, len(noise) - 1, length), np.arange(len(noise)), noise)
    hz = np.maximum(np.arange(length // 2 + 1) * RATE / length, 50.0)
    return np.fft.irfft(np.fft.rfft(played) * hz ** rng.uniform(-0.5, 0.5), length).astype(np.float32)


def _band(samples: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    hz = np.arange(len(spectrum)) * RATE / len(samples)
    # Soft edges, about 24 dB per octave.
    gain = 1 / np.sqrt((1 + (low_hz / np.maximum(hz, 1)) ** 8) * (1 + (hz / high_hz) ** 8))
    return np.fft.irfft(spectrum * gain, len(samples)).astype(np.float32)
