"""Which frames of clean speech are speech: by level, since nobody has listened to these recordings for it.

A row of 10 ms is loud when its power, above 100 Hz, exceeds both 35 dB below the loud rows of the clip (their 95th
percentile) and 10 dB above its quiet ones (their 10th), but never needs more than 12 dB below the loud ones: a clip of
one word may have no quiet row. Bursts under 30 ms are no speech, and pauses under 150 ms, the closures of stops among
them, are.
"""

import numpy as np

from models.common.features import HOP

_BELOW_LOUD_DB, _ABOVE_QUIET_DB, _LEAST_RANGE_DB = 35.0, 10.0, 12.0
_SHORTEST_SPEECH, _SHORTEST_PAUSE = 3, 15  # rows of 10 ms
_LOWEST_HZ, _RATE = 100.0, 16_000
_FLOOR = 1e-10


def label_speech(samples: np.ndarray, shortest_pause: int = _SHORTEST_PAUSE) -> np.ndarray:
    """Tell for each row of 10 ms of clean speech f32[n] whether it is speech: bool[n // 160]."""
    level = row_levels(samples)
    if not len(level):
        return np.zeros(0, bool)
    loud, quiet = np.percentile(level, 95), np.percentile(level, 10)
    threshold = min(max(loud - _BELOW_LOUD_DB, quiet + _ABOVE_QUIET_DB), loud - _LEAST_RANGE_DB)
    return fill_runs(~fill_runs(~(level > threshold), shortest_pause), _SHORTEST_SPEECH, value=False)


def row_levels(samples: np.ndarray) -> np.ndarray:
    """Power in dB above 100 Hz of each row of 10 ms, smoothed over 30 ms: f32[n // 160]."""
    spectrum = np.fft.rfft(samples)
    spectrum[: int(len(samples) * _LOWEST_HZ / _RATE)] = 0
    passed = np.fft.irfft(spectrum, len(samples))
    rows = len(samples) // HOP
    power = (passed[: rows * HOP].reshape(rows, HOP) ** 2).mean(1)
    padded = np.pad(power, 1, mode="edge")
    return 10 * np.log10((padded[:-2] + padded[1:-1] + padded[2:]) / 3 + _FLOOR)


def fill_runs(rows: np.ndarray, shortest: int, value: bool = False) -> np.ndarray:
    """Set the inner runs of True that are shorter than `shortest` to `value`; runs at either end stay."""
    rows = rows.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(np.int8), [0]])))
    for start, end in edges.reshape(-1, 2):
        if end - start < shortest and start > 0 and end < len(rows):
            rows[start:end] = value
    return rows
