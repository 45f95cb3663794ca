"""Noise: a function of seed, kind and frame, and normal."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.tasks.voice_noise import Noise, normals


@pytest.mark.parametrize("width", [1, 4, 80, 161, 480])
def test_any_partition(width: int) -> None:
    """However frames are cut into calls, their numbers are the same to the last bit."""
    whole = normals(7, Noise.FLOW, 0, 120, width)
    assert whole.shape == (120, width)
    assert whole.dtype == np.float32
    dice = np.random.default_rng(0)
    for _ in range(100):
        first, frames = int(dice.integers(0, 100)), int(dice.integers(1, 20))
        np.testing.assert_array_equal(normals(7, Noise.FLOW, first, frames, width), whole[first : first + frames])


def test_numbers_depend_on_seed_and_kind() -> None:
    """Other seeds, other kinds and other frames have other numbers; the largest seed and late frames are fine."""
    seen = [
        normals(seed, kind, frame, 1, 80).tobytes()
        for seed in (0, 1, 2**63 - 1)
        for kind in Noise
        for frame in (0, 1, 50 * 3600 * 24)
    ]
    assert len({*seen}) == len(seen)


def test_numbers_are_normal() -> None:
    """Moments, tails, and no correlation between neighbours, halves and frames."""
    numbers = normals(1, Noise.WAVE, 0, 2000, 480).astype(np.float64)
    n = numbers.size
    assert abs(numbers.mean()) < 5 / np.sqrt(n)
    assert numbers.var() == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    assert (numbers**3).mean() == pytest.approx(0, abs=5 * np.sqrt(15 / n))
    assert (numbers**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / n))
    assert np.mean(np.abs(numbers) < 1) == pytest.approx(0.6826895, abs=5e-3)
    assert 4.4 < np.abs(numbers).max() < 5.8
    for other in (np.roll(numbers, 1, axis=1), np.roll(numbers, 240, axis=1), np.roll(numbers, 1, axis=0)):
        assert abs((numbers * other).mean()) < 5 / np.sqrt(n)
