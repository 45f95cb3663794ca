"""Slaney's mel filters in numpy, for any set of bins."""

import numpy as np

# Linear to 1 kHz, which is 15 mels, then 27 mels for a factor of 6.4 (Auditory Toolbox, 1998).
_LINEAR_HZ, _KNEE_HZ, _KNEE_MEL = 200 / 3, 1000, 15
_LOG_STEP = float(np.log(6.4)) / 27


def slaney_filters(bins_hz: np.ndarray, bands: int, high_hz: float) -> np.ndarray:
    """Triangles f64[bins, bands] of unit area, equally wide in mels from 0 to `high_hz`, above 1 kHz, as librosa's."""
    edges = _hertz(np.linspace(0, _KNEE_MEL + np.log(high_hz / _KNEE_HZ) / _LOG_STEP, bands + 2))
    rise = (bins_hz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins_hz[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall)) * 2 / (edges[2:] - edges[:-2])


def _hertz(mels: np.ndarray) -> np.ndarray:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mels, _KNEE_MEL) - _KNEE_MEL))
    return np.where(mels < _KNEE_MEL, _LINEAR_HZ * mels, above)
