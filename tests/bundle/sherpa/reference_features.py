"""What sherpa-onnx computes from audio, written from its definition in float64, one frame at a time."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np


class Settings(NamedTuple):
    scale: float
    window: str
    low: float
    high: float
    snip_edges: bool
    removes_mean: bool
    slaney: bool


SETTINGS = {
    "k2": Settings(1.0, "povey", 20.0, 7600.0, False, True, False),
    "wenet": Settings(32768.0, "povey", 20.0, 7600.0, False, True, False),
    "paraformer": Settings(32768.0, "hamming", 20.0, 8000.0, True, True, False),
    "nemo": Settings(1.0, "hann", 0.0, 8000.0, False, False, True),
}


def features(kind: str, samples: np.ndarray, first: int, count: int, mels: int = 80) -> np.ndarray:
    """Rows `first` to `first + count` of the log-mel features of a whole signal: f64[count, mels]."""
    settings = SETTINGS[kind]
    return np.stack([_row(settings, samples, frame, mels) for frame in range(first, first + count)])


def _row(settings: Settings, samples: np.ndarray, frame: int, mels: int) -> np.ndarray:
    begin = 160 * frame if settings.snip_edges else 160 * frame + 80 - 200
    # Before the first sample the audio is reflected, the first sample included.
    indices = [index if index >= 0 else -index - 1 for index in range(begin, begin + 400)]
    window = samples[indices].astype(np.float64) * settings.scale
    if settings.removes_mean:
        window = window - window.mean()
    emphasised = window - 0.97 * np.append(window[0], window[:-1])
    power = np.abs(np.fft.rfft(emphasised * _window(settings.window), 512)) ** 2
    return np.log(np.maximum(power[:256] @ _filters(settings, mels), 2.0**-23))


def _window(name: str) -> np.ndarray:
    if name == "hann":
        return np.array([math.sin(math.pi * i / 400) ** 2 for i in range(400)])
    hann = np.hanning(400)
    return np.hamming(400) if name == "hamming" else hann**0.85


@functools.cache
def _filters(settings: Settings, mels: int) -> np.ndarray:
    mel, hertz = (_slaney, _from_slaney) if settings.slaney else (_kaldi, lambda value: value)
    low, high = mel(settings.low), mel(settings.high)
    weights = np.zeros((256, mels))
    for band in range(mels):
        left, centre, right = (hertz(low + (band + i) * (high - low) / (mels + 1)) for i in range(3))
        area = (right - left) / 2 if settings.slaney else 1.0
        for index in range(256):
            at = index * 31.25 if settings.slaney else mel(index * 31.25)
            if left < at < right:
                side = (at - left) / (centre - left) if at <= centre else (right - at) / (right - centre)
                weights[index, band] = side / area
    return weights


def _kaldi(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)


def _slaney(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _from_slaney(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)
