"""Augmentation of log-mel rows: gain, noise, babble, reverberation and SpecAugment."""

from dataclasses import dataclass

import numpy as np

from models.common.features import FLOOR


@dataclass(frozen=True)
class Augmentation:
    """How often and how strongly rows are changed; gains in nepers of power. `floor`: the power of silence."""

    gain: tuple[float, float] = (-3.0, 2.0)
    noise_share: float = 0.35
    babble_share: float = 0.1
    snr: tuple[float, float] = (0.7, 6.0)
    reverberation_share: float = 0.25
    reverberation_decay: tuple[float, float] = (0.5, 0.85)
    time_masks: int = 3
    time_width: int = 24
    mel_masks: int = 2
    mel_width: int = 18
    floor: float = FLOOR


def augment(rows: np.ndarray, noise: np.ndarray | None, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Change log-mel f32[T, M]; `noise` is log-mel of any length to be mixed in, if any."""
    power = np.maximum(np.exp(rows) - settings.floor, 0)
    if rng.random() < settings.reverberation_share:
        power = reverberate(power, rng.uniform(*settings.reverberation_decay), rng.uniform(0.02, 0.15))
    if noise is not None:
        power += _scaled_noise(power, noise, rng.uniform(*settings.snr), settings.floor, rng)
    power *= np.exp(rng.uniform(*settings.gain))
    return spec_augment(np.log(power + settings.floor, dtype=np.float32), settings, rng)


def reverberate(power: np.ndarray, decay: float, level: float) -> np.ndarray:
    """Add an exponential tail to power f32[T, M]: a diffuse room, blind to phase."""
    taps = level * decay ** np.arange(1, 24, dtype=np.float32)
    wet = power.copy()
    for delay, tap in enumerate(taps, start=1):
        if delay < len(power):
            wet[delay:] += tap * power[:-delay]
    return wet


def spec_augment(rows: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Mask bands and spans of f32[T, M] by the mean, in place (SpecAugment, arXiv 1904.08779)."""
    frames, mels = rows.shape
    mean = rows.mean()
    for _ in range(settings.mel_masks):
        width = rng.integers(0, settings.mel_width + 1)
        start = rng.integers(0, mels - width + 1)
        rows[:, start : start + width] = mean
    # A mask for every 1.5 s at most, so that short words survive.
    for _ in range(min(settings.time_masks, frames // 150)):
        width = rng.integers(0, settings.time_width + 1)
        start = rng.integers(0, frames - width + 1)
        rows[start : start + width] = mean
    return rows


def _scaled_noise(
    power: np.ndarray, noise: np.ndarray, snr: float, floor: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise power f32[T, M], looped from a random start, `snr` nepers of power below the speech."""
    index = (rng.integers(len(noise)) + np.arange(len(power))) % len(noise)
    loud = np.maximum(np.exp(noise) - floor, 0)
    ratio = power.mean() / max(loud.mean(), 1e-9)
    return loud[index] * (ratio * np.exp(-snr))
