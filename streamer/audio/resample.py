"""Streaming resampling with a linear-phase polyphase FIR filter whose state can be written down.

The filter is a windowed sinc of 40 periods of the lower rate on each side (5 ms at 8 kHz, less above): flat to 0.9 of
the lower Nyquist frequency, 60 dB down from the Nyquist frequency on. Each output is one dot product over its own
window of the input, so it does not depend on how the input was cut into pushes, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np

from streamer.audio.snapshot import from_text, to_text
from streamer.work import Array

# Half length of the filter: periods of the lower rate, but at most 5 ms whatever the rate.
HALF_PERIODS = 40
MAX_HOLD_BACK_S = 0.005
# -6 dB point, as a part of the lower Nyquist frequency: the middle of the transition from 0.9 to 1.0.
_CUTOFF = 0.95
# Kaiser's formula for 65 dB, 0.1102 * (65 - 8.7): what 40 periods allow for that transition.
_KAISER_BETA = 6.2
# A ratio with more phases interpolates between this many; the error is below -110 dB.
_MAX_PHASES = 640
_INTERPOLATED_PHASES = 512
# Outputs computed together: their windows stay in the cache of the processor.
_BLOCK = 256


class Resampler:
    """Resamples float32 audio from `rate_in` to `rate_out` (integers, Hz), push by push.

    Output sample `k` is the input at time `k / rate_out`: the delay of the filter is compensated by waiting for
    `hold_back_samples` more input. Equal rates pass samples through.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        common = gcd(rate_in, rate_out)
        self._up = rate_out // common
        self._down = rate_in // common
        self._bank = _filter_bank(rate_in, rate_out)
        # Input from the window of the next output on; before the first sample there is silence.
        self._input: Array = self._silence()
        self._received = 0
        self._produced = 0

    @property
    def hold_back_samples(self) -> int:
        """How many input samples after its own time an output sample waits for, at most 5 ms; 0 for equal rates."""
        return self._bank.half

    def push(self, samples: Array) -> Array:
        """Take input `[n]`, return the output that is complete, float32 `[m]`."""
        self._received += len(samples)
        if self._up == self._down:
            self._produced = self._received
            return samples
        self._input = np.concatenate((self._input, samples))
        # Output k needs input up to floor(k * down / up) + half.
        last_base = self._received - 1 - self._bank.half
        return self._produce(-((-(last_base + 1) * self._up) // self._down))

    def flush(self) -> Array:
        """Return the rest of the output, so that there are `ceil(n * rate_out / rate_in)` samples; then start anew."""
        total = -((-self._received * self._up) // self._down)
        self._input = np.concatenate((self._input, np.zeros(self._bank.half + 1, np.float32)))
        tail = self._produce(total)
        self._reset()
        return tail

    def first_input(self, output: int) -> int:
        """Return the first input sample that output sample `output` and those after it need."""
        return output if self._up == self._down else max(0, self._base(output) - self._bank.half + 1)

    def jump(self, output: int) -> int:
        """Go on with output sample `output` as if all input before was pushed; returns the next input sample."""
        first = self.first_input(output)
        self._received, self._produced = first, output
        # What lies before the first sample is silence.
        missing = 0 if self._up == self._down else first - (self._base(output) - self._bank.half + 1)
        self._input = np.zeros(missing, np.float32)
        return first

    def state(self) -> dict[str, Any]:
        """Return the counters and the input still needed, as JSON-compatible data."""
        return {"received": self._received, "produced": self._produced, "input": to_text(self._input)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._received, self._produced = state["received"], state["produced"]
        self._input = from_text(state["input"])

    def _reset(self) -> None:
        self._input = self._silence()
        self._received = self._produced = 0

    def _silence(self) -> Array:
        return np.zeros(max(self._bank.half - 1, 0), np.float32)

    def _produce(self, end: int) -> Array:
        begin = self._produced
        if end <= begin:
            return np.zeros(0, np.float32)
        origin = self._base(begin)
        bases, remainders = np.divmod(np.arange(begin, end, dtype=np.int64) * self._down, self._up)
        windows = self._windows()
        blocks = [slice(first, first + _BLOCK) for first in range(0, end - begin, _BLOCK)]
        outputs = [self._bank.apply(windows[bases[block] - origin], remainders[block], self._up) for block in blocks]
        self._produced = end
        # A jump beyond what is here cannot happen while half > down / up, which 40 periods guarantee.
        self._input = self._input[self._base(end) - origin :].copy()
        return np.concatenate(outputs)

    def _windows(self) -> Array:
        """All windows of the input, `[n, 2 * half]`, uncopied; `sliding_window_view` is slow for small packets."""
        length, size = self._bank.taps.shape[1], self._input.itemsize
        return np.ndarray((len(self._input) - length + 1, length), self._input.dtype, self._input, 0, (size, size))

    def _base(self, output: int) -> int:
        return output * self._down // self._up


@dataclass(frozen=True, slots=True)
class _FilterBank:
    """Filter taps `[phases + 1, 2 * half]`: row `p` weighs the window of an output `p / phases` after its base."""

    taps: Array
    half: int
    phases: int

    def apply(self, windows: Array, remainders: Array, up: int) -> Array:
        """Filter windows `[m, 2 * half]` of outputs that lie `remainders / up` input samples after their bases.

        A bank of one phase is for `up == 1`; one of `up` phases is exact, another one is interpolated.
        """
        if self.phases == 1:
            return _dots(windows, self.taps[:1])
        if up == self.phases:
            return _dots(windows, self.taps[remainders])
        rows, rest = np.divmod(remainders * self.phases, up)
        weights = (rest / up).astype(np.float32)
        below = _dots(windows, self.taps[rows])
        blended: Array = below + weights * (_dots(windows, self.taps[rows + 1]) - below)
        return blended


def _dots(windows: Array, taps: Array) -> Array:
    # As a batch of (1, n) @ (n, 1) products numpy takes one dot product per row; a matrix product would be free to
    # sum in an order that depends on the number of rows.
    products: Array = np.matmul(windows[:, None, :], taps[:, :, None])
    return products[:, 0, 0]


@lru_cache(maxsize=32)
def _filter_bank(rate_in: int, rate_out: int) -> _FilterBank:
    if rate_in == rate_out:
        return _FilterBank(np.ones((2, 1), np.float32), 0, 1)
    lower = min(rate_in, rate_out)
    half_s = min(HALF_PERIODS / lower, MAX_HOLD_BACK_S)
    half = int(half_s * rate_in)
    up = rate_out // gcd(rate_in, rate_out)
    phases = up if up <= _MAX_PHASES else _INTERPOLATED_PHASES
    # Window of an output: input base - half + 1 to base + half; the output is phase / phases after its base.
    offsets = np.arange(1 - half, half + 1)[None, :] - (np.arange(phases + 1) / phases)[:, None]
    taps = np.sinc(_CUTOFF * offsets * lower / rate_in) * _kaiser(offsets / (half_s * rate_in))
    taps /= taps.sum(axis=1, keepdims=True)
    taps = taps.astype(np.float32)
    taps.flags.writeable = False
    return _FilterBank(taps, half, phases)


def _kaiser(x: Array) -> Array:
    inside = np.sqrt(np.maximum(0.0, 1.0 - x * x))
    window: Array = np.where(np.abs(x) < 1.0, np.i0(_KAISER_BETA * inside), 0.0) / np.i0(_KAISER_BETA)
    return window
