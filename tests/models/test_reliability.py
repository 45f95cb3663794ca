"""Confidence: scored, and fitted."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from models.common import reliability  # noqa: E402
from models.common.served_words import Heard, Spoken  # noqa: E402

SILENCE = np.zeros(0, np.float32)


def test_words_are_judged_by_alignment():
    """An inserted or a wrong word is wrong, its neighbours are not; a recording without words adds nothing."""
    spoken = [Spoken("the cat sat", SILENCE), Spoken("down", SILENCE)]
    heard = [Heard("the a hat sat", 0.0, (0.9, 0.1, 0.2, 0.8)), Heard("", None)]
    confidences, right = reliability.judged(spoken, heard)
    assert confidences.tolist() == [0.9, 0.1, 0.2, 0.8]
    assert right.tolist() == [True, False, False, True]


def test_figures_of_known_confidences():
    """Confidences that are shares have no calibration error; ones that rank perfectly have an area of one."""
    confidences = np.repeat([0.2, 0.8], 50)
    right = np.concatenate([np.arange(50) < 10, np.arange(50) < 40])
    shuffled = np.random.default_rng(0).permutation(100)
    found = reliability.measure(confidences[shuffled], right[shuffled])
    assert found.right == pytest.approx(0.5)
    assert found.ranking == pytest.approx((10 * 0 + 40 * 40 + 0.5 * (40 * 10 + 10 * 40)) / 2500)
    assert reliability.measure(np.where(right, 0.9, 0.1), right).ranking == 1.0
    assert reliability.measure(np.full(100, 0.9), right).calibration_error > 0.3


def test_the_fit_finds_the_curve():
    """Words drawn from a logistic curve give its slope and bias back, and their calibration error falls."""
    rng = np.random.default_rng(1)
    confidences = np.exp(-rng.exponential(0.7, 20_000))
    right = rng.random(20_000) < reliability.calibrated(confidences, 2.5, 0.5)
    slope, bias = reliability.fit(confidences, right)
    assert slope == pytest.approx(2.5, abs=0.15)
    assert bias == pytest.approx(0.5, abs=0.1)
    before = reliability.measure(confidences, right).calibration_error
    after = reliability.measure(reliability.calibrated(confidences, slope, bias), right).calibration_error
    assert after < 0.02 < before
