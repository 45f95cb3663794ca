"""Synthetic noise and rooms for training mixes: f32 signals at 16 kHz, drawn from a numpy generator."""

from collections.abc import Callable

import numpy as np

RATE = 16_000


def coloured(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Stationary noise whose power falls by a drawn 0 to 9 dB per octave: white, pink, brown and between."""
    spectrum = np.fft.rfft(rng.standard_normal(samples, dtype=np.float32))
    hz = np.maximum(np.arange(len(spectrum)) * RATE / samples, 20.0)
    return np.fft.irfft(spectrum * hz ** -rng.uniform(0, 1.5), samples).astype(np.float32)


def swelling(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Coloured noise whose level wanders by some 20 dB, as traffic and wind do."""
    knots = rng.uniform(-1.2, 1.2, max(2, samples // RATE * 2 + 2))
    level = np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots)
    return coloured(rng, samples) * np.exp(level).astype(np.float32)


def hum(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Mains hum or an engine: a low tone and its harmonics."""
    time = np.arange(samples, dtype=np.float32) / RATE
    base = rng.uniform(45, 160)
    tones = [
        rng.uniform(0.1, 1) / n * np.sin(2 * np.pi * (base * n * time + rng.random()))
        for n in range(1, int(rng.integers(2, 12)))
    ]
    return np.sum(tones, 0).astype(np.float32)


def clicks(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Keyboards, steps, knocks: decaying bursts of noise at drawn times."""
    out = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(1, 6) * samples / RATE) + 1):
        length = int(rng.integers(RATE // 500, RATE // 8))
        start = int(rng.integers(samples))
        burst = rng.standard_normal(length, dtype=np.float32) * np.exp(
            -6 * np.arange(length, dtype=np.float32) / length
        )
        out[start : start + length] += rng.uniform(0.2, 1) * burst[: samples - start]
    return out


def tune(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Notes with harmonics, one to three voices: pitch alone must not pass for a voice."""
    out = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        start, brightness = 0, rng.uniform(0.6, 2)
        while start < samples:
            length = int(rng.uniform(0.1, 0.8) * RATE)
            time = np.arange(min(length, samples - start), dtype=np.float32) / RATE
            pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
            harmonics = range(1, max(2, int(min(8, 7000 / pitch))))
            note = np.sum([np.sin(2 * np.pi * pitch * n * time) / n**brightness for n in harmonics], 0)
            out[start : start + len(time)] += note * np.minimum(time * 50, np.exp(-time * rng.uniform(1, 6)))
            start += int(length * rng.uniform(0.8, 2))
    return out


KINDS: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (coloured, swelling, hum, clicks, tune)


def draw(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Noise of a drawn kind, half of it coloured."""
    kind = coloured if rng.random() < 0.4 else KINDS[rng.integers(len(KINDS))]
    return kind(rng, samples)


def reverberate(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put f32[n] into a simulated room: direct sound, then a decaying tail of noise (0.15 to 0.8 s for 60 dB)."""
    seconds = rng.uniform(0.15, 0.8)
    length = int(seconds * RATE)
    response = rng.standard_normal(length, dtype=np.float32) * 10 ** (-3 * np.arange(length, dtype=np.float32) / length)
    response *= 10 ** (rng.uniform(-12, 0) / 20) / np.sqrt((response**2).sum())
    response[: int(rng.uniform(0.001, 0.02) * RATE)] = 0
    response[0] = 1
    size = 1 << (len(samples) + length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return wet[: len(samples)].astype(np.float32)
