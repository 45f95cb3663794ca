"""Joins of pieces: none are seen in a sound that has none, and clicks, jumps of pitch and of level are."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.bootstrap import mean  # noqa: E402
from models.flow_tts.joins import joins, table, together  # noqa: E402

RATE = 24_000
PLACES = list(range(4_801, 90_000, 4_800))


def sound() -> np.ndarray:
    """Four seconds of noise at one level."""
    return np.random.default_rng(1).standard_normal(4 * RATE) * 0.1


def steady(samples: np.ndarray, rate: int) -> np.ndarray:
    return np.full(-(-len(samples) * 100 // rate), 200.0)


def test_a_sound_without_joins_shows_none() -> None:
    """Any places in noise: steps, pitch and level are as elsewhere."""
    found = joins(sound(), RATE, range(500, 95_000, 250), steady)
    value, low, high = found.step_ratio
    assert low < 1 < high
    assert value == pytest.approx(1, abs=0.08)
    assert not found.pitch.any()
    found = joins(sound(), RATE, PLACES, steady)
    assert mean(found.energy)[0] == pytest.approx(mean(found.energy_elsewhere)[0], rel=0.3)


def test_clicks_are_seen() -> None:
    """Pieces of a smooth tone that begin at another phase: steps of twice their neighbours and more."""
    phase = np.arange(4 * RATE) * 0.05 + np.repeat(np.arange(len(PLACES) + 1), np.diff([0, *PLACES, 4 * RATE])) * 0.7
    tone = np.sin(phase)
    assert joins(tone, RATE, PLACES, steady).step_ratio[1] > 2
    assert joins(tone, RATE, [place + 400 for place in PLACES], steady).step_ratio[0] < 1.5


def test_jumps_of_pitch_and_level_are_seen() -> None:
    """Every other piece is 6 dB louder and 30 Hz higher: the changes are at the joins and nowhere else."""
    places = [24_000, 48_000, 72_000]
    louder = np.repeat([1, 2, 1, 2], RATE)

    def track(samples: np.ndarray, rate: int) -> np.ndarray:
        return np.repeat([200.0, 230.0, 200.0, 230.0], 100)

    found = joins(np.sin(np.arange(4 * RATE) * np.pi / 24) * louder, RATE, places, track)
    assert found.pitch == pytest.approx([30, 30, 30])
    assert not found.pitch_elsewhere.any()
    assert found.energy == pytest.approx([6.02, 6.02, 6.02], abs=0.1)
    assert found.energy_elsewhere.max() < 0.1


def test_unvoiced_and_silent_places_do_not_count() -> None:
    """Pitch needs a voice on both sides, level a sound."""
    silent = np.concatenate([sound()[:RATE], np.zeros(RATE), sound()[:RATE]])
    found = joins(silent, RATE, [RATE, 36_000, 60_000], lambda samples, rate: np.zeros(300))
    assert len(found.pitch) == len(found.pitch_elsewhere) == 0
    assert len(found.energy) == 1


def test_recordings_are_pooled_into_one_row() -> None:
    """Counts add up; the table tells them."""
    one = joins(sound(), RATE, PLACES, steady)
    both = together([one, one])
    assert len(both.steps) == 2 * len(PLACES)
    assert both.step_ratio[0] == pytest.approx(one.step_ratio[0])
    rows = table({"chunks": both}).splitlines()
    assert rows[2].startswith(f"| chunks | {2 * len(PLACES)} | ")
    assert rows[2].count("|") == 8


def test_places_outside_the_sound_are_refused() -> None:
    """A piece that begins at sample 0 has no join."""
    for places in ([0, 5], [100]):
        with pytest.raises(ValueError, match="expected positions from 1 to 99"):
            joins(np.zeros(100), RATE, places, steady)
