"""The filterbanks that sherpa-onnx computes for its model types, as two matrices in float64.

All of them cut 25 ms every 10 ms, subtract 0.97 of the sample before (the first sample of a frame stands before
itself), window, pad to 512 and take the power spectrum without its last bin; they differ in scale, window, mel filters
and in whether the mean is removed first. All that comes before the power is linear, so it is one matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamer.work import Array

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
DFT = 512
BINS = DFT // 2
FLOOR = float(np.finfo(np.float32).eps)
_PREEMPHASIS = 0.97

Kind = Literal["k2", "wenet", "paraformer", "nemo"]


@dataclass(frozen=True, slots=True)
class Filterbank:
    """One kind of filterbank: audio in [-1, 1] is multiplied by `scale`, mel bands lie between `low_hz` and `high_hz`.

    `is_centred`: frame t lies around sample `160 t + 80` and begins before the audio, which is mirrored there
    (`snip_edges` off); otherwise it begins at `160 t`. `is_slaney`: bands of equal area on Slaney's mel scale.
    """

    scale: float
    window: Literal["povey", "hamming", "hann"]
    low_hz: float
    high_hz: float
    is_centred: bool = True
    removes_mean: bool = True
    is_slaney: bool = False


FILTERBANKS: Mapping[Kind, Filterbank] = {
    "k2": Filterbank(1.0, "povey", 20, 7600),
    "wenet": Filterbank(32768.0, "povey", 20, 7600),
    "paraformer": Filterbank(32768.0, "hamming", 20, 8000, is_centred=False),
    "nemo": Filterbank(1.0, "hann", 0, 8000, removes_mean=False, is_slaney=True),
}


def basis(bank: Filterbank) -> Array:
    """Return f64[WINDOW, 2 * BINS]: a frame times it is the real, then the imaginary part of its spectrum."""
    angle = 2 * np.pi * np.arange(WINDOW)[:, None] * np.arange(BINS) / DFT
    fourier = np.concatenate([np.cos(angle), -np.sin(angle)], 1) * _window(bank.window)[:, None]
    eye = np.eye(WINDOW)
    before = np.concatenate([eye[:1], eye[:-1]])
    emphasised = (eye - _PREEMPHASIS * before).T @ fourier
    if bank.removes_mean:
        emphasised = emphasised - emphasised.mean(0)
    return np.asarray(bank.scale * emphasised)


def mel_filters(bank: Filterbank, mels: int) -> Array:
    """Return f64[BINS, mels], triangles over the power spectrum."""
    return _slaney_filters(bank, mels) if bank.is_slaney else _kaldi_filters(bank, mels)


def _window(name: str) -> Array:
    """Kaldi's windows are symmetric, but its `hann` is periodic."""
    time = np.arange(WINDOW)
    if name == "hann":
        return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * time / WINDOW))
    cosine = np.cos(2 * np.pi * time / (WINDOW - 1))
    return np.asarray(0.54 - 0.46 * cosine if name == "hamming" else (0.5 - 0.5 * cosine) ** 0.85)


def _kaldi_filters(bank: Filterbank, mels: int) -> Array:
    """Triangles that are straight and equally spaced on the mel scale, of height one."""
    low, high = _kaldi_mel(np.array([bank.low_hz, bank.high_hz]))
    return _triangles(np.linspace(low, high, mels + 2), _kaldi_mel(_bin_hz()))


def _slaney_filters(bank: Filterbank, mels: int) -> Array:
    """Triangles that are straight in hertz, equally spaced on Slaney's mel scale, of equal area."""
    low, high = _slaney_mel(np.array([bank.low_hz, bank.high_hz]))
    edges = _slaney_hz(np.linspace(low, high, mels + 2))
    return np.asarray(_triangles(edges, _bin_hz()) * 2 / (edges[2:] - edges[:-2]))


def _triangles(edges: Array, bins: Array) -> Array:
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(np.minimum(rise, fall), 0.0))


def _bin_hz() -> Array:
    return np.arange(BINS) * (SAMPLE_RATE / DFT)


def _kaldi_mel(hz: Array) -> Array:
    return np.asarray(1127 * np.log1p(hz / 700))


# Slaney's scale is linear up to 1 kHz, which is 15 mel, and logarithmic above, with 27 mel per factor of 6.4.
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_MEL_PER_E = 27 / np.log(6.4)


def _slaney_mel(hz: Array) -> Array:
    above = _KNEE_MEL + _MEL_PER_E * np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ)
    return np.where(hz < _KNEE_HZ, hz * _KNEE_MEL / _KNEE_HZ, above)


def _slaney_hz(mel: Array) -> Array:
    above = _KNEE_HZ * np.exp((np.maximum(mel, _KNEE_MEL) - _KNEE_MEL) / _MEL_PER_E)
    return np.where(mel < _KNEE_MEL, mel * _KNEE_HZ / _KNEE_MEL, above)
