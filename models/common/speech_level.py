"""Active speech level by ITU-T P.56, method B: how loud speech is while it is spoken, however long its pauses are."""

import numpy as np

_SMOOTHING_S = 0.03
_HANGOVER_S = 0.2
_MARGIN_DB = 15.9
# Thresholds of the envelope, each twice the last, from half of full scale down to the last bit of 16.
_THRESHOLDS = 2.0 ** -np.arange(1, 16)
# Beyond this many time constants the smoothing has forgotten: 1e-13 of it is left.
_TIME_CONSTANTS = 35


def active_level(samples: np.ndarray, rate: int) -> float:
    """Active level of f32[n] at `rate` Hz in dB of full scale (dBov); -inf of silence.

    Speech is where a smoothed envelope has been above a threshold within 200 ms; the threshold is the one that lies
    15.9 dB below the level of the speech that it finds.
    """
    energy = float(np.sum(np.square(samples, dtype=float)))
    if not energy > 0:
        return float("-inf")
    envelope = _envelope(np.abs(samples), rate)
    counts = np.array([_active(envelope >= threshold, round(_HANGOVER_S * rate)) for threshold in _THRESHOLDS])
    heard = counts > 0
    if not heard.any():
        return 10 * float(np.log10(energy / len(samples)))
    levels = 10 * np.log10(energy / counts[heard])
    margins = levels - 20 * np.log10(_THRESHOLDS[heard])
    # Margins grow as thresholds fall; beyond the ends the nearest level is taken.
    return float(np.interp(_MARGIN_DB, margins, levels))


def to_level(samples: np.ndarray, rate: int, dbov: float = -26.0) -> np.ndarray:
    """Scale f32[n] to an active level; clips what then leaves [-1, 1]. Silence stays as it is."""
    level = active_level(samples, rate)
    if not np.isfinite(level):
        return samples
    return np.clip(samples * 10 ** ((dbov - level) / 20), -1, 1).astype(np.float32)


def _envelope(sizes: np.ndarray, rate: int) -> np.ndarray:
    """Two exponential averages, one after the other; their impulse response is convolved at once."""
    decay = np.exp(-1 / (_SMOOTHING_S * rate))
    place = np.arange(int(_TIME_CONSTANTS * _SMOOTHING_S * rate))
    response = (1 - decay) ** 2 * (place + 1) * decay**place
    size = 1 << (len(sizes) + len(response)).bit_length()
    return np.fft.irfft(np.fft.rfft(sizes, size) * np.fft.rfft(response, size), size)[: len(sizes)]


def _active(above: np.ndarray, hangover: int) -> int:
    """How many samples are at most `hangover` after one that is above the threshold."""
    place = np.arange(len(above))
    last = np.maximum.accumulate(np.where(above, place, -hangover - 1))
    return int(np.sum(place - last <= hangover))
