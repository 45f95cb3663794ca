"""Pieces of a growing text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.gateway.openai.growing import GrowingText
from streamer.session.messages import Result


def result(text: str, stable_chars: int | None = None, segment: int = 0) -> Result:
    is_final = stable_chars is None
    stable = len(text) if stable_chars is None else stable_chars
    return Result(segment, 0, text, stable, is_final, is_final, 0, 1, 1.0)


def pieces(*results: Result) -> tuple[list[str], GrowingText]:
    growing = GrowingText()
    found = []
    for each in results:
        growing.take(each)
        found.append(growing.piece())
    return found, growing


def test_only_what_is_promised_is_given_out() -> None:
    """The word in progress waits for its final."""
    found, growing = pieces(result("the fair", 4), result("the ferry le", 10), result("the ferry leaves"))
    assert found == ["the ", "ferry ", "leaves"]
    assert growing.text == "the ferry leaves"


def test_segments_are_joined_by_spaces() -> None:
    """The text of the whole is that of a transcript."""
    found, growing = pieces(result("one"), result("two thr", 4, segment=1), result("two three", segment=1))
    assert found == ["one", " two ", "three"]
    assert growing.text == "one two three"


def test_an_interim_with_nothing_promised_says_nothing() -> None:
    """Not even the space before it."""
    assert pieces(result("one"), result("tw", 0, segment=1))[0] == ["one", ""]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text("ab ", min_size=1).filter(str.strip), st.lists(st.integers(0, 9))), max_size=6))
def test_pieces_make_the_whole(segments: list[tuple[str, list[int]]]) -> None:
    """However much is promised of each interim, in whatever order of lengths."""
    results = []
    for number, (text, promises) in enumerate(segments):
        results += [result(text, min(promise, len(text)), number) for promise in promises]
        results.append(result(text, segment=number))
    found, growing = pieces(*results)
    assert "".join(found) == growing.text == " ".join(text for text, _ in segments)
