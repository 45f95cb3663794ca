"""Lag is counted from the sample that a result needed, and never understated."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.cli.lag import LagMeter
from streamer.session.messages import Finalized, Flow, Limits, Ready, Result

LIMITS = Limits(65536, 2000, 10000, 30000, None)


def meter(chunk_ms: float = 100.0, rate: int = 16000) -> LagMeter:
    """A stream with ten frames of 40 ms, each sent at its end."""
    found = LagMeter(Ready("s", "m", rate, 16000, chunk_ms, 100.0, LIMITS))
    for index in range(10):
        found.sent(rate // 25, (index + 1) * 0.04)
    return found


def interim(end_sample: int, **changes: Any) -> Result:
    values = {"is_final": False, "end_of_turn": False, **changes}
    return Result(0, 1, "a", 0, start_sample=0, end_sample=end_sample, confidence=1.0, **values)


def test_counts_from_the_frame_that_holds_the_sample() -> None:
    """The last sample of the third frame left at 0.12 s; one sample more left with the fourth."""
    assert meter().received(interim(1920), 0.15) == pytest.approx(0.03)
    assert meter().received(interim(1921), 0.20) == pytest.approx(0.04)


def test_needs_whole_chunks() -> None:
    """Once a chunk end is known, a result needs the audio up to the chunk end at or after its own end."""
    found = meter()
    assert found.received(Flow(1920, 1600, 0.0, 0.0), 0.13) is None
    # Chunks end at 1600, 3200, 4800; the one that ends at 3200 was sent with the fifth frame, at 0.2 s.
    assert found.received(interim(1700), 0.25) == pytest.approx(0.05)
    assert found.received(interim(3200), 0.25) == pytest.approx(0.05)
    assert found.received(interim(1601), 0.15) == pytest.approx(0.15 - 0.12)


def test_flush_moves_the_grid() -> None:
    """After `Finalized` the chunk ends are not known until the next `Flow`."""
    found = meter()
    found.received(Flow(1920, 1600, 0.0, 0.0), 0.13)
    found.received(Finalized("a", 2000), 0.14)
    assert found.received(interim(1700), 0.25) == pytest.approx(0.25 - 0.12)


def test_finals_have_no_lag() -> None:
    """A final waits for silence on purpose."""
    assert meter().received(interim(1600, is_final=True), 9.0) is None


def test_padding_has_no_lag() -> None:
    """A result that needs more than was sent came out of the flush."""
    found = meter()
    found.received(Flow(6400, 5600, 0.0, 0.0), 0.3)
    assert found.received(interim(6400), 0.5) is None
    assert found.received(interim(6401), 0.5) is None
