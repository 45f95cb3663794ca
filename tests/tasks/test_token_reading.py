"""Text in pieces for models that read pieces of words: where they end, whatever parts it comes in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from streamer.errors import InvalidRequest
from streamer.tasks.token_bpe import BytePairs
from streamer.tasks.token_reading import UnitReader
from streamer.tasks.token_text import Script, UnitComposer

TEXT = 'One. "Two three?" 3.5 of 10!\nFour five。六七！ end '  # noqa: RUF001 - it is meant


def reader(by_words: bool = False) -> UnitReader:
    return UnitReader(BytePairs({}, {}), by_words)


def pieces_of(parts: list[str], by_words: bool) -> list[tuple[str, bool]]:
    """What was read, each piece as soon as it can be, and whether a sentence ends with it."""
    reading, found = reader(by_words), []
    for part in [*parts, None]:
        if part is None:
            reading.finish()
        else:
            reading.feed(part)
        reading.read()
        while reading.has_piece:
            piece = reading.take()
            found.append((piece.text, piece.is_end))
            reading.read()
    assert not reading.has_unread
    return found


def test_sentences() -> None:
    """Ended by marks and blanks, by lines, or by marks of scripts without blanks; figures are none."""
    expected = ["One.", ' "Two three?"', " 3.5 of 10!", "\n", "Four five。", "六七！", " end "]  # noqa: RUF001 - it is meant
    assert pieces_of([TEXT], False) == [(text, True) for text in expected if text.strip()]


def test_words() -> None:
    """Each with the blanks before it; a sentence ends where it would as a whole."""
    expected = [("One.", True), (' "Two', False), (' three?"', True), (" 3.5", False), (" of", False), (" 10!", True)]
    expected += [("Four", False), (" five。", True), ("六七！", True), (" end", False), (" ", False)]  # noqa: RUF001 - it is meant
    assert pieces_of([TEXT], True) == expected


@pytest.mark.parametrize("by_words", [False, True])
def test_any_partition_of_the_text(by_words: bool) -> None:
    """The same pieces, however text is cut."""
    whole, dice = pieces_of([TEXT], by_words), np.random.default_rng(0)
    assert pieces_of([*TEXT], by_words) == whole
    for _ in range(50):
        places = [0, *sorted(dice.integers(len(TEXT), size=5).tolist()), len(TEXT)]
        parts = [TEXT[first:last] for first, last in itertools.pairwise(places)]
        assert pieces_of(parts, by_words) == whole


def test_what_has_no_end_is_cut() -> None:
    """Sentences at a blank, words of scripts that write none anywhere."""
    assert pieces_of(["word " * 50], False) == [("word " * 39 + "word", True), (" word" * 10 + " ", True)]
    assert pieces_of(["六" * 40], True) == [("六" * 16, False), ("六" * 16, False), ("六" * 8, False)]
    assert pieces_of(["x" * 450], False) == [("x" * 200, True), ("x" * 200, True), ("x" * 50, True)]


def test_what_nobody_can_say_is_left_out() -> None:
    """Marks and blanks by themselves, but not within a sentence; characters that no text holds are refused."""
    for by_words in (False, True):
        assert pieces_of([" ... -- ! \n"], by_words) == []
    assert pieces_of(["one - two ! - \n"], True) == [("one", False), (" -", False), (" two", False), (" !", True)]
    assert pieces_of(["one\n- two"], True) == [("one", False), ("\n", True), (" two", False)]
    with pytest.raises(InvalidRequest, match=r"^text: "):
        reader().feed("a\0b")


def test_text_that_is_hard_to_cut_takes_no_time() -> None:
    """Marks and blanks without an end are read a little at a time, and none of what follows is lost."""
    for text in ("!" * 10_000, "! " * 10_000, " " * 10_000, ".)" * 10_000):
        for by_words in (False, True):
            reading = reader(by_words)
            reading.feed(text + " one")
            reading.finish()
            reads, found = 0, ""
            while reading.has_unread:
                reading.read()
                reads += 1
                while reading.has_piece:
                    found += reading.take().text
            assert found.split()[-1] == "one"
            assert reads < 1000


def test_what_waits_is_counted_and_dropped() -> None:
    """Characters that were not taken."""
    reading = reader()
    reading.feed("One. Two")
    assert reading.waiting_chars == 8
    reading.read()
    assert (reading.take().text, reading.waiting_chars) == ("One.", 4)
    reading.finish()
    assert reading.has_unread
    reading.drop()
    assert (reading.waiting_chars, reading.has_piece, reading.has_unread) == (0, False, False)


def test_an_utterance_is_a_sentence_or_as_much_as_there_is_room_for() -> None:
    """No id is lost; a piece that does not fit begins another."""
    composer, scripts = UnitComposer(4), ()
    scripts = composer.add(scripts, [1, 2], ends_sentence=True)
    assert scripts == (Script((1, 2), True),)
    scripts = composer.add(scripts, [3, 4, 5])
    assert scripts[1:] == (Script((3, 4, 5)),)
    scripts = composer.add(scripts, [6, 7])
    assert scripts[1:] == (Script((3, 4, 5), True), Script((6, 7)))
    scripts = composer.add(scripts, [8, 9, 10, 11, 12], ends_sentence=True)
    assert scripts[2:] == (Script((6, 7), True), Script((8, 9, 10, 11), True), Script((12,), True))
    assert composer.add(scripts, [], ends_sentence=True) == scripts
