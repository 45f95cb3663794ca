"""Whether speech that was made in pieces can be told where the pieces meet.

At a join, the step from sample to sample, the change of pitch and the change of level should be as anywhere else.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.common import bootstrap
from models.common.markdown import table as markdown

_SPAN_S = 0.01
"""Of the sound before and after a place that is compared, and between places that are no joins."""
_NEAR_S = 0.02
"""How far the steps reach, either way, that the step at a join is compared with."""
_QUIET_DB = -50.0
"""Relative to the loudest span: below this, changes of level are those of noise."""


@dataclass(frozen=True)
class Joins:
    """Counts by place: steps at joins and those around them, |dF0| in Hz and |dE| in dB at joins and elsewhere."""

    steps: np.ndarray
    steps_near: np.ndarray
    pitch: np.ndarray
    pitch_elsewhere: np.ndarray
    energy: np.ndarray
    energy_elsewhere: np.ndarray

    @property
    def step_ratio(self) -> bootstrap.Estimate:
        """Steps at joins over steps within 20 ms of them, pooled, and its 95 % interval over joins; 1 if inaudible."""
        return bootstrap.pooled(self.steps, self.steps_near)


def joins(
    samples: np.ndarray, rate: int, positions: Sequence[int], track: Callable[[np.ndarray, int], np.ndarray]
) -> Joins:
    """Compare the places in f32[n] where a piece begins (sample numbers) with all others.

    `track` gives Hz for each 10 ms, 0 without a voice. Pitch and level are those of the 10 ms before and after a place;
    pitch counts where both are voiced, level where both are within 50 dB of the loudest. Other places are every 10 ms,
    at least 20 ms from any join. Raises `ValueError` for a position outside 1 .. n - 1.
    """
    places = np.asarray(sorted(set(positions)), int)
    if len(places) and not (places[0] >= 1 and places[-1] < len(samples)):
        raise ValueError(f"expected positions from 1 to {len(samples) - 1}, got {places[0]} to {places[-1]}")
    steps = np.abs(np.diff(samples.astype(float), prepend=samples[:1]))
    grid = np.arange(1, int(len(samples) / rate / _SPAN_S)) * round(_SPAN_S * rate)
    others = grid[_distance(grid, places) >= _NEAR_S * rate]
    hertz = track(samples, rate)
    return Joins(
        steps[places],
        np.array([_around(steps, place, round(_NEAR_S * rate)) for place in places]),
        _pitch_changes(hertz, places, rate),
        _pitch_changes(hertz, others, rate),
        _energy_changes(samples, places, rate),
        _energy_changes(samples, others, rate),
    )


def together(found: Iterable[Joins]) -> Joins:
    """The joins of several recordings as one set; raises `ValueError` if there is no recording."""
    columns = zip(*(vars(each).values() for each in found), strict=True)
    return Joins(*(np.concatenate(column) for column in columns))


def table(sets: dict[str, Joins]) -> str:
    """A row for each set, by name: joins, the ratio of steps, means of |dF0| and |dE| at joins and elsewhere."""
    columns = ("pieces", "joins", "step ratio", "dF0 at joins, Hz", "dF0 elsewhere", "dE at joins, dB", "dE elsewhere")
    rows = []
    for name, found in sets.items():
        value, low, high = found.step_ratio
        changes = (found.pitch, found.pitch_elsewhere, found.energy, found.energy_elsewhere)
        cells = (f"{bootstrap.mean(each)[0]:.2f}" for each in changes)
        rows.append((name, str(len(found.steps)), f"{value:.3f} [{low:.3f}, {high:.3f}]", *cells))
    return markdown(columns, rows)


def _around(steps: np.ndarray, place: int, reach: int) -> float:
    """Mean step within reach of a place, without the step at it."""
    first = max(place - reach, 1)
    near = steps[first : place + reach + 1]
    return float((near.sum() - steps[place]) / max(len(near) - 1, 1))


def _distance(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    if not len(places):
        return np.full(len(grid), np.inf)
    after = np.searchsorted(places, grid)
    before = np.abs(grid - places[np.maximum(after - 1, 0)])
    return np.minimum(before, np.abs(grid - places[np.minimum(after, len(places) - 1)]))


def _pitch_changes(hertz: np.ndarray, places: np.ndarray, rate: int) -> np.ndarray:
    # Frame k is of the 10 ms that begin at 10 k ms.
    after = np.rint(places / rate / _SPAN_S).astype(int)
    after = after[(after >= 1) & (after < len(hertz))]
    before = after - 1
    voiced = (hertz[before] > 0) & (hertz[after] > 0)
    return np.abs(hertz[after] - hertz[before])[voiced].astype(float)


def _energy_changes(samples: np.ndarray, places: np.ndarray, rate: int) -> np.ndarray:
    span = round(_SPAN_S * rate)
    sums = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=float))])
    loudest = (sums[span:] - sums[:-span]).max(initial=1e-12)
    places = places[(places >= span) & (places + span < len(sums))]
    before, after = sums[places] - sums[places - span], sums[places + span] - sums[places]
    heard = np.minimum(before, after) > loudest * 10 ** (_QUIET_DB / 10)
    return np.abs(10 * np.log10(after[heard] / before[heard]))
