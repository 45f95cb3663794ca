"""When the windows of a stream turn, by numbers alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamer.errors import BundleError
from streamer.tasks.roles import Roles
from streamer.tasks.whisper_window import Turn, Window, WindowRules, Windows
from tests.tasks import toy

GRAN, FIRST = 15, 30


def rules(first: int = FIRST, most_tokens: int = 400, **parameters: Any) -> WindowRules:
    """The rules of a manifest with `parameters`."""
    manifest = toy.parsed(toy.manifest(parameters={"gran": GRAN, "max_frames": 1500, **parameters}))
    return WindowRules.of(Roles(manifest, "program whisper"), first, most_tokens)


def encoded(windows: Windows, by: WindowRules) -> Windows:
    """`windows` once all that is due has been encoded."""
    for name in ("live", "shadow"):
        while (window := getattr(windows, name)) is not None and (size := window.due(by, windows.heard)):
            windows = replace(windows, **{name: window.grown(size)})
    return windows


def step(windows: Windows, by: WindowRules, speaks: bool = True) -> tuple[Windows, Turn]:
    """One chunk more, in which a token is emitted if somebody `speaks`."""
    windows = encoded(windows.at(windows.heard + by.gran, by), by)
    windows = replace(windows, emitted=windows.heard) if speaks else windows
    turn = windows.turn(by, tokens=1)
    if turn is Turn.CUT:
        return windows.cut(), turn
    return (windows.rolled(by) if turn is Turn.ROLL else windows), turn


def test_defaults_are_those_of_thirty_seconds() -> None:
    """15, 20 and 28 s of frames of 20 ms, a pause of 0.6 s, 400 tokens."""
    assert rules() == WindowRules(GRAN, FIRST, 1500, 750, 30, 1000, 1400, 400)


def test_small_windows_have_small_limits() -> None:
    """Limits scale with the window, and a successor has time for its first block."""
    small = rules(max_frames=100, most_tokens=24)
    assert (small.roll, small.shadow, small.cut, small.most_tokens) == (50, 63, 93, 24)


def test_a_window_begins_with_its_first_block() -> None:
    """Nothing is due before it is whole, and then one chunk after the other, until the window is full."""
    by = rules(max_frames=60)
    assert [Window(15, 0, count).due(by, 44) for count in (0, 30)] == [0, 0]
    assert Window(15).due(by, 45) == 30
    assert Window(15, 0, 30).due(by, 60) == 15
    assert Window(15, 0, 45).due(by, 900) == 15
    assert Window(15, 0, 60).due(by, 900) == 0
    assert Window(15, 0, 60).is_full(by)
    assert not Window(15).is_full(by)


def test_speech_without_a_pause_goes_on_in_a_shadow() -> None:
    """A successor begins at 20 s and takes over at 28 s, with 8 s that both have heard, for two minutes."""
    by, windows = rules(), Windows()
    begins, cuts = [], []
    for _ in range(2 * 60 * 50 // GRAN):
        before = windows
        windows, turn = step(windows, by)
        if windows.shadow is not None and before.shadow is None:
            begins.append(windows.heard)
        if turn is Turn.CUT:
            cuts.append(windows.heard)
            assert windows.live == Window(begins[-1], 1 - before.live.bank, windows.heard - begins[-1])
        assert turn is not Turn.ROLL
        assert windows.live.count <= by.longest
        assert windows.live.end in (windows.heard, windows.live.origin)
    assert begins[:2] == [1005, 2010]
    assert cuts[:2] == [1410, 2415]


def test_a_pause_ends_a_long_window() -> None:
    """From 15 s on 0.6 s without a token open a new window right after the last token."""
    by, windows = rules(), Windows()
    for _ in range(50):
        windows, turn = step(windows, by)
        assert turn is Turn.NONE
    windows, turn = step(windows, by, speaks=False)
    assert turn is Turn.NONE
    windows, turn = step(windows, by, speaks=False)
    assert turn is Turn.ROLL
    assert windows.live == Window(750, 1, 0)
    assert encoded(windows, by).live.count == 30


def test_a_new_window_reaches_back_a_second() -> None:
    """It begins on the grid of chunks, at most a second back, never before the last token or the stream."""
    by = rules()
    assert Windows(heard=600, emitted=0).rolled(by).live == Window(555, 1)
    assert Windows(heard=600, emitted=585).rolled(by).live == Window(585, 1)
    assert Windows(Window(0, 1), heard=15).rolled(by).live == Window(0, 0)
    assert Windows().rolled(by) == Windows()
    assert Windows(shadow=Window(555, 1, 30), heard=600).rolled(by).shadow is None


def test_too_many_tokens_turn_a_window() -> None:
    """Into the shadow if it is there, into a new window if it is not."""
    by, windows = rules(), Windows(Window(0, 0, 600), None, 600, 600)
    assert windows.turn(by, 399) is Turn.NONE
    assert windows.turn(by, 400) is Turn.ROLL
    shadowed = replace(windows, shadow=Window(500, 1, 90))
    assert shadowed.turn(by, 400) is Turn.CUT
    assert replace(windows, shadow=Window(600, 1, 0)).turn(by, 400) is Turn.ROLL


def test_a_model_that_hears_whole_windows_takes_one_after_the_other() -> None:
    """The offline bundle: a first block of 30 s is all there is, and the next begins where it ended."""
    by, windows = rules(first=1500, gran=1500), Windows()
    for index in range(1, 4):
        windows, turn = step(windows, by)
        assert turn is Turn.ROLL
        assert windows.live == Window(1500 * index, index % 2)
    windows, turn = step(windows, by, speaks=False)
    assert windows.live == Window(6000, 0)


def test_windows_survive_plain_data() -> None:
    """With a shadow and without."""
    for windows in (Windows(), Windows(Window(15, 1, 30), Window(30, 0, 0), 45, 30)):
        assert Windows.of_plain(windows.plain()) == windows


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"shadow_frames": 1400},
            "bundle toy: expected shadow_frames < cut_frames <= max_frames, got 1400, 1400 and 1500",
        ),
        (
            {"cut_frames": 1501},
            "bundle toy: expected shadow_frames < cut_frames <= max_frames, got 1000, 1501 and 1500",
        ),
        ({"max_frames": 29}, "bundle toy: parameter max_frames: expected an integer from 30, got 29"),
        ({"roll_frames": 0}, "bundle toy: parameter roll_frames: expected an integer from 1, got 0"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(parameters: dict[str, Any], message: str) -> None:
    """The message names the parameters and what they are."""
    with pytest.raises(BundleError) as error:
        rules(**parameters)
    assert str(error.value) == message
