"""How far speech is from a recording of the same sentence: mel-cepstral distance along the best path, and pitch."""

from collections.abc import Callable
from functools import cache

import numpy as np

from models.common.mel_filters import slaney_filters

SAMPLE_RATE = 16_000
HOP = 160
_FFT, _BANDS, _COEFFICIENTS = 512, 80, 13
# Bands are raised to 60 dB below the loudest, frames at the ends that are 40 dB below the loudest are cut.
_FLOOR_DB, _TRIM_DB = 60, 40
_TO_DB = 10 / np.log(10) * np.sqrt(2)


def likeness(
    speech: np.ndarray, recording: np.ndarray, track: Callable[[np.ndarray, int], np.ndarray]
) -> dict[str, float]:
    """Compare two f32[n] at 16 kHz; `track` gives Hz for each 10 ms, 0 without a voice.

    `mcd` is the mean over a path of dynamic time warping of the distance of 13 mel-cepstral coefficients without the
    zeroth, in dB (Kubichek 1993). `f0_rmse` is in semitones about each one's own mean, where both are voiced on that
    path, `voicing` the share of it on which one is voiced and the other is not. `tempo` is the recording's seconds per
    second of speech. `log_f0` and `log_f0_std` tell mean and spread of the speech's own log pitch in log Hz.
    """
    found, wanted = _cepstra(speech), _cepstra(recording)
    (rows, first), (other, begin) = _trimmed(*found), _trimmed(*wanted)
    costs = _distances(rows, other)
    i, j = best_path(costs)
    pitch, target = track(speech, SAMPLE_RATE), track(recording, SAMPLE_RATE)
    ours = pitch[np.minimum(i + first, len(pitch) - 1)]
    theirs = target[np.minimum(j + begin, len(target) - 1)]
    both = (ours > 0) & (theirs > 0)
    voiced = np.log(pitch[pitch > 0])
    return {
        "mcd": float(costs[i, j].mean()),
        "f0_rmse": _contour_rmse(ours[both], theirs[both]),
        "voicing": float(((ours > 0) != (theirs > 0)).mean()),
        "tempo": len(other) / len(rows),
        "log_f0": float(voiced.mean()) if len(voiced) else float("nan"),
        "log_f0_std": float(voiced.std()) if len(voiced) else float("nan"),
    }


def best_path(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dynamic time warping over costs f64[a, b]: rows and columns of the cheapest path from corner to corner.

    Each step moves by one in either or in both. Computed one anti-diagonal at a time.
    """
    height, width = costs.shape
    total = np.full((height + 1, width + 1), np.inf)
    total[0, 0] = 0
    for diagonal in range(height + width - 1):
        i = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        j = diagonal - i
        total[i + 1, j + 1] = costs[i, j] + np.minimum(total[i, j], np.minimum(total[i, j + 1], total[i + 1, j]))
    path = [(height - 1, width - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        before = [(total[i, j], i - 1, j - 1), (total[i, j + 1], i - 1, j), (total[i + 1, j], i, j - 1)]
        path.append(min(before)[1:])
    rows, columns = np.array(path[::-1]).T
    return rows, columns


def _contour_rmse(ours: np.ndarray, theirs: np.ndarray) -> float:
    if not len(ours):
        return float("nan")
    gaps = 12 * (np.log2(ours) - np.log2(theirs))
    return float(gaps.std())


def _cepstra(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients f64[frames, 13] and level in dB, f64[frames], each 10 ms."""
    frames = -(-len(samples) // HOP)
    padded = np.pad(samples, (_FFT // 2 - HOP // 2, _FFT))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP][:frames] * np.hanning(_FFT)
    power = np.abs(np.fft.rfft(windows)) ** 2
    mels = np.sqrt(power @ _filters())
    logs = np.log(np.maximum(mels, max(mels.max(), 1e-9) * 10 ** (-_FLOOR_DB / 20)))
    return logs @ _cosines(), 10 * np.log10(power.sum(1) + 1e-12)


def _trimmed(cepstra: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, int]:
    """Without the quiet ends, and the number of the first frame."""
    loud = np.flatnonzero(level > level.max() - _TRIM_DB)
    return cepstra[loud[0] : loud[-1] + 1], int(loud[0])


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return _TO_DB * np.sqrt(np.maximum(squares, 0))


@cache
def _filters() -> np.ndarray:
    return slaney_filters(np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE), _BANDS, SAMPLE_RATE / 2)


@cache
def _cosines() -> np.ndarray:
    """DCT-II from bands to coefficients 1 to 13, scaled as in speech processing: f64[bands, 13]."""
    places = (np.arange(_BANDS) + 0.5) * np.pi / _BANDS
    return np.cos(places[:, None] * np.arange(1, _COEFFICIENTS + 1)) * 2 / _BANDS
