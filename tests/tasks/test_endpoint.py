"""The endpoint rules."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from streamer.errors import InvalidRequest
from streamer.tasks.endpoint import Endpoint, Endpointing, check_endpointing, find_endpoint

RULES = Endpointing()


@pytest.mark.parametrize(
    ("has_speech", "silence_s", "speech_s", "expected"),
    [
        (False, 2.39, 0, None),
        (False, 2.4, 0, Endpoint.SILENCE_WITHOUT_SPEECH),
        (False, 1000, 0, Endpoint.SILENCE_WITHOUT_SPEECH),
        (True, 1.19, 2, None),
        (True, 1.2, 2, Endpoint.SILENCE_AFTER_SPEECH),
        (True, 1.2, 30, Endpoint.SILENCE_AFTER_SPEECH),
        (True, 0, 19.9, None),
        (True, 0, 20, Endpoint.MAX_SEGMENT),
    ],
)
def test_rules(has_speech: bool, silence_s: float, speech_s: float, expected: Endpoint | None) -> None:
    """Silence before speech takes longer than silence after it; length counts only speech."""
    assert find_endpoint(RULES, has_speech, silence_s, speech_s) is expected


def test_disabled_rules_leave_the_hard_limit() -> None:
    """Without rules a segment still cannot grow for ever."""
    rules = Endpointing(enabled=False)
    assert find_endpoint(rules, False, 1e6, 0) is None
    assert find_endpoint(rules, True, 100, 119.9) is None
    assert find_endpoint(rules, True, 0, 120) is Endpoint.MAX_SEGMENT


@pytest.mark.parametrize("name", ["silence_without_speech_s", "silence_after_speech_s", "max_segment_s"])
@pytest.mark.parametrize("value", [-1.0, 0, math.nan, math.inf, "1", None, True])
def test_refuses_bad_durations(name: str, value: float) -> None:
    """Durations are finite numbers above zero."""
    with pytest.raises(InvalidRequest) as caught:
        check_endpointing(replace(RULES, **{name: value}))
    assert str(caught.value) == f"endpointing {name}: expected a finite number of seconds above 0, got {value!r}"


def test_refuses_other_bad_values() -> None:
    """The switch is a boolean, and the length has an upper limit."""
    with pytest.raises(InvalidRequest, match=r"^endpointing enabled: expected true or false, got 'yes'$"):
        check_endpointing(replace(RULES, enabled="yes"))
    with pytest.raises(InvalidRequest, match=r"^endpointing max_segment_s: expected at most 120 seconds, got 121$"):
        check_endpointing(replace(RULES, max_segment_s=121))
    check_endpointing(replace(RULES, max_segment_s=120, silence_after_speech_s=1))
