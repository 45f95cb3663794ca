"""Confidence of evaluations, and the word errors that it is told of."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common import bootstrap  # noqa: E402
from models.common.word_errors import word_errors  # noqa: E402


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    """Normal values: 1.96 standard errors either way; values that are missing are left out."""
    values = np.random.default_rng(1).standard_normal(400) + 3
    value, low, high = bootstrap.mean(values)
    error = values.std() / 20
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.1 * error)
    assert bootstrap.mean([*values, float("nan")]) == bootstrap.mean(values)


def test_rates_are_pooled_over_items() -> None:
    """Long items weigh more than short ones; equal rates have no spread."""
    assert bootstrap.pooled([1, 0], [1, 9])[0] == 0.1
    assert bootstrap.pooled([1, 2, 3], [10, 20, 30]) == pytest.approx((0.1, 0.1, 0.1))
    _, low, high = bootstrap.pooled([0, 1] * 50, [1] * 100)
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.02)


def test_nothing_has_no_figure() -> None:
    """Not a number, three times."""
    assert np.isnan([bootstrap.mean([]), bootstrap.pooled([], []), bootstrap.mean([float("nan")])]).all()


def test_word_errors_are_counted_by_recording() -> None:
    """A wrong word, one too few, one too many; nothing heard at all."""
    said = ["one two three", "one two three", "one two", "one two"]
    assert word_errors(said, ["one six three", "one two", "one two too", ""]) == ([1, 1, 1, 2], [3, 3, 2, 2])
