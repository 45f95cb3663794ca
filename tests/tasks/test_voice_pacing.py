"""Pacing: how much is made, and when it is due."""

from __future__ import annotations

import math

import pytest

from streamer.tasks.voice_pacing import Pacing


@pytest.mark.parametrize(("lead_s", "then"), [(3.0, 25), (math.inf, 50)])
def test_first_steps_are_short(lead_s: float, then: int) -> None:
    """Ten frames where there is nothing left to hear; then 25, and 50 once there is a second if nobody listens."""
    pacing = Pacing(0.02, lead_s)
    assert pacing.frames(5.0) == 10
    for made_s, expected in ((0.2, 25), (0.8, 25), (0.01, then)):
        pacing.made(made_s, 5.0)
        assert pacing.frames(5.0) == expected
    assert pacing.ahead_s(5.5) == pytest.approx(0.51)
    assert pacing.frames(6.1) == 10


@pytest.mark.parametrize("lead_s", [0.5, 0.7, 2.0, 3.0, 60.0])
def test_no_more_than_the_lead(lead_s: float) -> None:
    """Steps that are asked for whenever they may be: never above the lead, never dry, smaller where need be."""
    pacing = Pacing(0.02, lead_s)
    now = 0.0
    for _ in range(2000):
        while frames := pacing.frames(now):
            pacing.made(frames * 0.02, now)
            assert pacing.ahead_s(now) <= lead_s + 1e-6
        assert pacing.ahead_s(now) > lead_s - 0.2 - 1e-6
        now += 0.05
        assert pacing.ahead_s(now) > 0


def test_deadlines() -> None:
    """When the listener has heard the rest; who has heard all waits since the step could be made."""
    pacing = Pacing(0.02)
    assert pacing.deadline(3.0) == 3.0
    pacing.made(0.5, 3.1)
    assert pacing.deadline(3.1) == pytest.approx(3.6)
    assert pacing.deadline(9.0) == 9.0
    # Playback has stopped meanwhile, and goes on with what is made.
    pacing.made(0.5, 9.0)
    assert pacing.deadline(9.0) == pytest.approx(9.5)
    pacing.made(0.0, 9.2)
    assert pacing.deadline(9.0) == pytest.approx(9.5)
    pacing.restart()
    assert pacing.ahead_s(9.0) == 0.0
    assert pacing.deadline(9.1) == 9.1
    assert not math.isinf(pacing.deadline(0.0))
