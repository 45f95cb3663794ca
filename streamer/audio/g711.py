"""ITU-T G.711: telephone samples of one byte, mu-law and A-law, as lookup tables on the scale of 16-bit PCM.

A byte holds a sign, an exponent of three bits and a mantissa of four. The recommendation's 14-bit (mu) and 13-bit (A)
values are shifted left to 16 bits, as everywhere.
"""

from __future__ import annotations

import numpy as np

from streamer.work import Array

_CODES = np.arange(256)
# Added to magnitudes of mu-law so that every segment begins at a power of two: 33 of 14 bits (table 2a of G.711).
_MU_BIAS = 33 << 2
_MU_CLIP = 8158 << 2
# A-law transmits with every other bit inverted (table 1a, note 2).
_A_MASK = 0x55


def _mulaw_values() -> Array:
    bits = ~_CODES & 0xFF
    exponent, mantissa = bits >> 4 & 7, bits & 15
    magnitude = ((mantissa << 3) + _MU_BIAS << exponent) - _MU_BIAS
    values: Array = np.where(bits & 0x80, -magnitude, magnitude).astype(np.int16)
    return values


def _alaw_values() -> Array:
    bits = _CODES ^ _A_MASK
    exponent, mantissa = bits >> 4 & 7, bits & 15
    # Half a step more: values lie in the middle of their intervals. The first two segments have the same step.
    magnitude = (mantissa << 4) + 8 + np.where(exponent > 0, 256, 0) << np.maximum(exponent - 1, 0)
    values: Array = np.where(bits & 0x80, magnitude, -magnitude).astype(np.int16)
    return values


def _mulaw_codes() -> Array:
    samples = np.arange(-32768, 32768)
    magnitude = np.minimum(np.abs(samples) & ~3, _MU_CLIP) + _MU_BIAS
    exponent = np.log2(magnitude).astype(np.int64) - 7
    bits = exponent << 4 | (magnitude >> exponent + 3) & 15 | np.where(samples < 0, 0x80, 0)
    codes: Array = (~bits & 0xFF).astype(np.uint8)
    return codes


def _alaw_codes() -> Array:
    samples = np.arange(-32768, 32768)
    magnitude = np.minimum(np.abs(samples), 32767) >> 4
    exponent = np.maximum(np.log2(np.maximum(magnitude, 1)).astype(np.int64) - 3, 0)
    mantissa = magnitude >> np.maximum(exponent - 1, 0) & 15
    bits = exponent << 4 | mantissa | np.where(samples < 0, 0, 0x80)
    codes: Array = (bits ^ _A_MASK).astype(np.uint8)
    return codes


# Value of each code, int16 [256], and code of each 16-bit sample, uint8 [65536] from -32768 on.
VALUES = {"pcm_mulaw": _mulaw_values(), "pcm_alaw": _alaw_values()}
CODES = {"pcm_mulaw": _mulaw_codes(), "pcm_alaw": _alaw_codes()}
for _table in (*VALUES.values(), *CODES.values()):
    _table.flags.writeable = False
