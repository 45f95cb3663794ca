"""Tokens to words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.tasks.base import WordSpan
from streamer.tasks.tokens import Vocabulary
from streamer.tasks.words import Calibration, Timing, Token, confidence, join, place, spell

PIECES = ("▁a", "b", "▁", "<0xE6>", "<0x97>", "<0xA5>", "<0x41>", "日", "本", "▁x▁y", "<0xFF>")
VOCABULARY = Vocabulary(PIECES)
TIMING = Timing(sample_rate=1000, frame_samples=10, token_delay_samples=20)


def tokens(*pieces: str, frames: list[int] | None = None) -> list[Token]:
    places = frames or list(range(len(pieces)))
    return [Token(PIECES.index(piece), frame, -0.5) for piece, frame in zip(pieces, places, strict=True)]


def text(*pieces: str, is_final: bool = True) -> str:
    return join(spell(tokens(*pieces), VOCABULARY, is_final))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], ""),
        (["▁a", "b", "▁a"], "ab a"),
        (["b", "▁a"], "b a"),
        (["▁", "b", "▁", "▁a"], "b a"),
        (["▁"], ""),
        (["▁a", "日", "本", "b", "▁a"], "a日本b a"),
        (["▁a", "<0xE6>", "<0x97>", "<0xA5>", "b"], "a日b"),
        (["▁a", "<0x41>"], "aA"),
        (["▁x▁y"], "x y"),
        (["▁a", "<0xE6>", "▁a"], "a\ufffd a"),
        (["▁a", "<0xFF>"], "a\ufffd"),
        (["▁a", "<0xE6>", "<0x97>"], "a\ufffd"),
    ],
)
def test_spelling(pieces: list[str], expected: str) -> None:
    """Pieces join into words, bytes into characters, and scripts without spaces stay without."""
    assert text(*pieces) == expected


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["th@@", "ing", "two"], "thing two"),
        (["two", "th@@", "ing"], "two thing"),
        (["日", "th@@", "ing", "本"], "日 thing本"),
        (["two", "th@@"], "two th"),
        (["th@@", "日"], "th日"),
    ],
)
def test_words_may_go_on_where_a_piece_says_so(pieces: list[str], expected: str) -> None:
    """In a vocabulary that marks ends, a word is whole at the first piece without a mark, spoken so far or not."""
    known = ("th@@", "ing", "two", "日", "本")
    spoken = [Token(known.index(piece), frame, -0.5) for frame, piece in enumerate(pieces)]
    assert join(spell(spoken, Vocabulary(known, marks_ends=True), is_final=True)) == expected


def test_unfinished_characters_wait() -> None:
    """An interim leaves out a character of which bytes are missing."""
    assert text("▁a", "<0xE6>", is_final=False) == "a"
    assert text("▁a", "<0xE6>", "<0x97>", is_final=False) == "a"
    assert text("▁a", "<0xE6>", "<0x97>", "<0xA5>", is_final=False) == "a日"
    assert text("▁a", "<0xE6>", "▁a", is_final=False) == "a\ufffd a"


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_text_only_grows(pieces: list[str]) -> None:
    """Each interim begins with the one before it, and the final with the last one; words make up the text."""
    before = ""
    for length in range(len(pieces) + 1):
        now = text(*pieces[:length], is_final=False)
        assert now.startswith(before)
        before = now
    assert text(*pieces).startswith(before)


def spans(pieces: list[str], frames: list[int], begin: int = 0, end: int = 10_000) -> list[tuple[str, int, int]]:
    words = place(spell(tokens(*pieces, frames=frames), VOCABULARY, True), TIMING, begin, end)
    return [(word.word, word.start_sample, word.end_sample) for word in words]


def test_times() -> None:
    """A word begins at its first token less the delay, and ends at the next word or 0.4 s after its last token."""
    assert spans(["▁a", "b", "▁a"], [12, 14, 20]) == [("ab", 100, 180), ("a", 180, 580)]
    assert spans(["▁a", "b", "▁a"], [12, 14, 80]) == [("ab", 100, 520), ("a", 780, 1180)]


def test_times_are_clipped() -> None:
    """No word begins before the last final's end or ends after the audio."""
    assert spans(["▁a", "▁a"], [0, 4], end=300) == [("a", 0, 20), ("a", 20, 300)]
    assert spans(["▁a", "▁a"], [5, 6], begin=35, end=38) == [("a", 35, 38), ("a", 38, 38)]


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.integers(0, 9)), max_size=12), st.integers(0, 50))
def test_times_are_monotone(steps: list[tuple[str, int]], begin: int) -> None:
    """Words never overlap or go back, whatever the tokens."""
    frames = [sum(gap for _, gap in steps[: index + 1]) for index in range(len(steps))]
    last = begin
    for _, start, end in spans([piece for piece, _ in steps], frames, begin, begin + 100):
        assert last <= start <= end <= begin + 100
        last = end


def test_confidence_is_the_geometric_mean() -> None:
    """Of the probabilities of all tokens of a word."""
    made = [Token(0, 0, math.log(0.9)), Token(1, 1, math.log(0.4))]
    assert confidence(made) == pytest.approx(0.6)
    assert confidence([]) == 0.0
    assert confidence([Token(0, 0, 1e-4)]) == 1.0
    word = place(spell(made, VOCABULARY, True), TIMING, 0, 100)[0]
    assert word == WordSpan("ab", 0, 100, pytest.approx(0.6))


def test_calibrated_confidence_is_a_line_in_log_odds() -> None:
    """Slope and bias move the odds of the geometric mean; what is certain or impossible stays finite."""
    calibration = Calibration(2.0, 1.0)
    made = [Token(0, 0, math.log(0.5)), Token(1, 1, math.log(0.5))]
    assert confidence(made, calibration) == pytest.approx(1 / (1 + math.exp(-1.0)))
    odds = 2.0 * math.log(0.8 / 0.2) + 1.0
    assert confidence([Token(0, 0, math.log(0.8))], calibration) == pytest.approx(1 / (1 + math.exp(-odds)))
    assert 0.99 < confidence([Token(0, 0, 0.0)], calibration) <= 1.0
    assert 0.0 <= confidence([Token(0, 0, -100.0)], calibration) < 1e-9
    assert confidence([], calibration) == 0.0
