"""Likeness to a recording: none is lost by level, little by tempo; it falls with every change."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.likeness import best_path, likeness  # noqa: E402
from models.flow_tts.pitch import track  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"
RATE = 16_000


def clip(name: str) -> np.ndarray:
    return soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")[0][: 3 * RATE]


def test_the_cheapest_path_is_found() -> None:
    """As by trying them all, on small grids of random costs."""
    rng = np.random.default_rng(1)
    for height, width in product((1, 2, 4), (1, 3, 5)):
        costs = rng.random((height, width))
        i, j = best_path(costs)
        assert costs[i, j].sum() == pytest.approx(_cheapest(costs, height - 1, width - 1))
        assert (i[0], j[0], i[-1], j[-1]) == (0, 0, height - 1, width - 1)


def _cheapest(costs: np.ndarray, i: int, j: int) -> float:
    if i < 0 or j < 0:
        return np.inf
    if i == j == 0:
        return float(costs[0, 0])
    return float(costs[i, j]) + min(
        _cheapest(costs, i - 1, j - 1), _cheapest(costs, i - 1, j), _cheapest(costs, i, j - 1)
    )


def test_a_recording_is_like_itself() -> None:
    """Quieter and with silence around it too."""
    speech = clip("ferry")
    same = likeness(speech, speech, track)
    assert (same["mcd"], same["f0_rmse"], same["voicing"], same["tempo"]) == (pytest.approx(0, abs=1e-3), 0, 0, 1)
    moved = likeness(np.pad(0.3 * speech, (1600, 3200)), speech, track)
    assert moved["mcd"] < 1
    assert moved["log_f0"] == pytest.approx(same["log_f0"], abs=0.02)


def test_what_differs_is_told() -> None:
    """A faster and higher one: tempo and pitch; another sentence is further away in spectrum and melody."""
    speech = clip("ferry")
    fast = soxr.resample(speech, RATE * 1.1, RATE)
    found, other = likeness(fast, speech, track), likeness(clip("honey"), speech, track)
    assert found["tempo"] == pytest.approx(1.1, abs=0.03)
    assert found["log_f0"] - likeness(speech, speech, track)["log_f0"] == pytest.approx(np.log(1.1), abs=0.03)
    assert found["mcd"] < 0.7 * other["mcd"]
    assert found["f0_rmse"] < other["f0_rmse"]
