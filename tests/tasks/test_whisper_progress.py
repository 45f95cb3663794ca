"""How a stream goes from one window to the next: what of its text is final, and what the new one begins with."""

from __future__ import annotations

from dataclasses import replace

from streamer.tasks.whisper_progress import Progress
from streamer.tasks.whisper_rules import Stop
from streamer.tasks.whisper_state import Hypothesis, Spoken, State
from streamer.tasks.whisper_window import Window, WindowRules, Windows

RULES = WindowRules(15, 30, 1500, 750, 30, 1000, 1400, 400)
PROMPT = (1, 2)


def at_the_cut(emitted: list[int], committed: int, stop: Stop = Stop.EOT) -> Progress:
    """28 s of a window with tokens emitted at some frames, heard 5 frames before; its shadow began at 1005."""
    tokens = tuple(Spoken(place, frame, frame - 5, -0.1, 3.0) for place, frame in enumerate(emitted))
    state = State(PROMPT, (Hypothesis(tokens, tuple(emitted)),), committed, 0, stop)
    windows = Windows(Window(0, 0, 1410), Window(1005, 1, 405), 1410, max(emitted, default=0))
    return Progress(windows, state, -1, 1410, True)


def test_a_cut_hands_on_what_the_shadow_has_heard() -> None:
    """Final tokens since it began open its text, in its frames; the last two it says itself."""
    found = at_the_cut([900, 1050, 1095, 1380, 1410], committed=3).turned(RULES, PROMPT, 2)
    assert found is not None
    later, kept = found
    assert kept == 3
    assert later.windows == Windows(Window(1005, 1, 405), None, 1410, 1410)
    assert [(token.id, token.emitted, token.attended) for token in later.state.tokens] == [(1, 45, 40), (2, 90, 85)]
    assert later.state.committed == 2
    assert later.decoded == 0


def test_a_cut_keeps_what_cannot_be_said_again() -> None:
    """Tokens whose sound came before the shadow, and a text that would else begin with nothing."""
    found = at_the_cut([900, 1005, 1008], committed=0).turned(RULES, PROMPT, 2)
    assert found is not None
    assert [token.attended for token in found[0].state.tokens] == [-2]
    assert found[1] == 3
    found = at_the_cut([990, 1395, 1410], committed=1).turned(RULES, PROMPT, 2)
    assert found is not None
    assert [token.id for token in found[0].state.tokens] == [1, 2]
    assert found[1] == 3


def test_a_loop_is_not_handed_on() -> None:
    """A window whose text repeats itself is followed by one that knows nothing of it."""
    progress = at_the_cut([1380, 1395, 1410], committed=1, stop=Stop.LOOP)
    found = progress.turned(RULES, PROMPT, 2)
    assert found is not None
    later, kept = found
    assert (kept, later.state, later.windows.live) == (3, State.start(PROMPT), Window(1410, 1))


def test_a_window_ends_only_once_it_is_decoded() -> None:
    """What has been encoded since belongs to it; and one that has heard nothing cannot end."""
    progress = at_the_cut([1410], committed=0)
    assert replace(progress, decoded=1395).turned(RULES, PROMPT, 2) is None
    waiting = Progress(Windows(Window(0, 0), None, 15), State.start(PROMPT))
    assert waiting.turned(replace(RULES, roll=1, pause=1), PROMPT, 2) is None


def test_progress_survives_its_array() -> None:
    """As bytes of JSON, with a shadow and a text."""
    progress = at_the_cut([1380, 1410], committed=1)
    assert Progress.of_array(progress.array()) == progress
    assert Progress.of_plain(progress.plain()) == progress
