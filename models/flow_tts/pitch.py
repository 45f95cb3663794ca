"""Pitch of clean speech: normalised cross-correlation and the best path through it.

After Talkin's RAPT (1995): candidates are lags of a cross-correlation, transitions cost what they change. Windows are
centred on their frame.
"""

import numpy as np
import soxr

HOP_S = 0.01
_RATE = 8_000
_HOP, _WINDOW = 80, 240
_LOW_HZ, _HIGH_HZ = 70.0, 360.0
# Costs: of a voiced frame that correlates by less than 1, of one octave of change, of a change of voicing, of no voice.
_OCTAVE, _CHANGE, _UNVOICED = 2.0, 0.3, 0.6
# A longer lag correlates as well as a shorter one if it is a multiple: prefer the shorter.
_LONG = 0.04
# Windows that are so much quieter than the loudest have no voice: 40 dB.
_QUIET = 10 ** (-40 / 10)


def track(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return Hz f32[ceil(seconds / HOP_S)] of f32[n] at `rate`, one for the middle of each 10 ms, 0 without a voice."""
    x = soxr.resample(samples, rate, _RATE).astype(np.float64) if rate != _RATE else samples.astype(np.float64)
    frames = -(-len(samples) * 100 // rate)
    correlation, power = _correlations(x - x.mean() if len(x) else x, frames)
    low, high = _lags()
    cost = 1 - np.clip(correlation, 0, 1) + _LONG * np.arange(low, high + 1) / high
    cost[power < _QUIET * power.max(initial=0.0)] = 2.0
    path = _best_path(cost)
    voiced = path >= 0
    pitch = np.zeros(frames, np.float32)
    pitch[voiced] = _RATE / (low + path[voiced] + _peaks(correlation[voiced], path[voiced]))
    return pitch


def _lags() -> tuple[int, int]:
    return int(_RATE / _HIGH_HZ), int(np.ceil(_RATE / _LOW_HZ))


def _correlations(x: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised cross-correlations f64[frames, lags] and powers f64[frames].

    Both windows of a lag lie around the middle of the frame, so that no lag is judged by another place.
    """
    low, high = _lags()
    half = (_WINDOW + high) // 2 + 1
    padded = np.pad(x, (half, half + _HOP * frames))
    squares = np.concatenate([[0.0], np.cumsum(padded**2)])
    middles = half + _HOP * np.arange(frames) + _HOP // 2
    found = np.empty((frames, high - low + 1))
    for column, lag in enumerate(range(low, high + 1)):
        first = middles - (_WINDOW + lag) // 2
        products = np.concatenate([[0.0], np.cumsum(padded[:-lag] * padded[lag:])])
        energy = (squares[first + _WINDOW] - squares[first]) * (squares[first + lag + _WINDOW] - squares[first + lag])
        found[:, column] = (products[first + _WINDOW] - products[first]) / np.sqrt(energy + 1e-9)
    first = middles - _WINDOW // 2
    return found, (squares[first + _WINDOW] - squares[first]) / _WINDOW


def _best_path(cost: np.ndarray) -> np.ndarray:
    """Viterbi: i64[frames], the index of the lag or -1 for no voice, of costs f64[frames, lags]."""
    low, high = _lags()
    octaves = np.log2(np.arange(low, high + 1))
    moves = _OCTAVE * np.abs(octaves[:, None] - octaves)
    frames, lags = cost.shape
    back = np.zeros((frames, lags + 1), np.int64)
    total, silent = np.full(lags, _CHANGE), 0.0
    for t in range(frames):
        steps = total[:, None] + moves
        before = steps.argmin(0)
        best = steps[before, np.arange(lags)]
        begins = silent + _CHANGE < best
        back[t, :lags] = np.where(begins, lags, before)
        ends = int(total.argmin())
        stays = silent <= total[ends] + _CHANGE
        back[t, lags] = lags if stays else ends
        silent, total = (
            min(silent, total[ends] + _CHANGE) + _UNVOICED,
            np.where(begins, silent + _CHANGE, best) + cost[t],
        )
    path = np.empty(frames, np.int64)
    state = lags if silent <= total.min(initial=np.inf) else int(total.argmin())
    for t in range(frames - 1, -1, -1):
        path[t] = state if state < lags else -1
        state = back[t, state]
    return path


def _peaks(correlation: np.ndarray, column: np.ndarray) -> np.ndarray:
    """How far the top of a parabola through three neighbours is from the middle one, f64[n] in [-0.5, 0.5]."""
    rows, last = np.arange(len(column)), correlation.shape[1] - 1
    left, middle, right = (correlation[rows, np.clip(column + step, 0, last)] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    return np.clip(np.where(bend < -1e-9, 0.5 * (left - right) / np.minimum(bend, -1e-9), 0.0), -0.5, 0.5)
