"""Figures of the look-ahead siblings: delays from their decisions, word errors with their uncertainty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.served_words import Spoken  # noqa: E402
from models.transducer.ancat_report import Delays, Point, decisions, difference, draw, lateness  # noqa: E402
from models.transducer.model import Transducer  # noqa: E402
from tests.models.ancat_toys import sound, toy  # noqa: E402


def point(name: str, errors: list[int], weight: float | None = None) -> Point:
    tokens, arrivals = [np.array([7, 8, 9])], [np.array([1, 2, 4])]
    delays = Delays(np.array([0, 1, 2, 5]), np.array([3, 3, 3, 7]), np.array([1.5]), tokens, arrivals)
    return Point(name, weight, np.array(errors), np.array([10, 10, 20]), delays, 0.012)


@pytest.mark.parametrize(("mode", "mean", "to_tick"), [("none", 0, 0.5), ("full", 4, 4.5)])
def test_fixed_look_ahead_has_its_fixed_delay(mode: str, mean: float, to_tick: float) -> None:
    """Four frames for two layers that always look two ahead; a tick of two frames adds half a frame on average."""
    spoken = [Spoken("words", sound(seed, 32)) for seed in range(2)]
    delays = decisions(toy(mode), spoken)
    assert delays.frames.tolist() == [mean] * 64
    assert delays.to_tick.mean() == to_tick
    assert delays.opened.tolist() == ([2.0, 2.0] if mode == "full" else [])
    assert 0 < sum(map(len, delays.tokens)) < 64


def test_a_chunked_model_waits_for_its_chunk() -> None:
    """Frames of a chunk of four wait 3, 2, 1 and 0 frames; the end of the chunk is the end of the tick."""
    model = Transducer(toy(chunk=4).config).eval()
    delays = decisions(model, [Spoken("words", sound(1, 16))])
    assert delays.frames.tolist() == [3, 2, 1, 0] * 4
    assert delays.to_tick.tolist() == delays.frames.tolist()


def test_word_errors_are_compared_on_the_same_utterances() -> None:
    """Where a point is better by the same rate everywhere, the difference is certain."""
    first, second = point("none", [5, 5, 10]), point("full", [4, 4, 8])
    assert difference(second, first) == pytest.approx((-10.0, 0.0))
    other = point("full", [0, 5, 11])
    assert difference(other, first)[0] == pytest.approx(-10.0)
    assert difference(other, first)[1] > 5


def test_lateness_compares_tokens_that_both_say() -> None:
    """Tokens that one alone says do not count."""
    delays = point("none", [0, 0, 0]).delays
    other = replace(delays, tokens=[np.array([7, 5, 9])], arrivals=[np.array([2, 9, 7])])
    assert lateness(other, delays) == 2.0
    assert lateness(delays, other) == -2.0


def test_a_row_of_the_table() -> None:
    """Pooled word errors, milliseconds of 80 ms frames, and look-ahead by layer."""
    first = point("none", [5, 5, 10])
    assert first.row(first) == "| none | - | 50.0 % | - | 160 ms | 400 ms | 320 ms | - | 1.50 | 0.012 |"
    cells = point("adaptive", [4, 4, 8], 0.02).row(first).split(" | ")
    assert cells[:4] == ["| adaptive", "0.02", "40.0 %", "-10.0 ± 0.0"]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """One file, whatever points there are."""
    draw([point("none", [5, 5, 10]), point("adaptive", [4, 4, 8], 0.02)], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
