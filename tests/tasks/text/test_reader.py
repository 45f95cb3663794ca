"""Pieces of text that arrives in portions: they depend on the text alone."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.tasks.text.normalise import read_aloud
from streamer.tasks.text.reader import LONGEST_PIECE, MOST_LETTERS, Mode, Reader
from streamer.tasks.text.spoken import GAP, SENTENCE_ENDS, Piece

MODES: tuple[Mode, ...] = ("clauses", "words")
# What is read in one go although blanks stand within, and what surrounds it.
_BITS = (
    *("Dr. ", "St. ", "Mr.", " $3 ", "million ", "3.", "5", " 1/2", " March ", "3rd, ", "2024", " p.m. ", "U.S. "),
    *("(555) ", "123-4567 ", "+44 ", "20 ", "7946 ", "e.g. ", "etc. ", "J. ", "No. ", "km ", "%", " IV ", "Henry "),
    *("word ", "and ", "The ", "a", "b", "-", " - ", "\u2014", "...", ", ", ". ", "? ", "! ", "; ", ":", "\n", "\n\n"),
    *("'", '"', "(", ")", "\u00e9", "\u0301", "\U0001f600", "@", "#", "http://a.b/", "\r\n", "\t", "\u00bd", "\u65e5"),
)
texts = st.lists(st.sampled_from(_BITS), max_size=40).map("".join)
any_text = texts | st.text(max_size=60)


def pieces_of(text: str, mode: Mode = "clauses") -> list[Piece]:
    reader = Reader(mode)
    return [*reader.feed(text), *reader.finish()]


def said(pieces: list[Piece]) -> list[str]:
    return [" ".join(word.text + word.pause.replace(GAP, "") for word in piece.words) for piece in pieces]


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=150, deadline=None)
@given(text=any_text, data=st.data())
def test_pieces_do_not_depend_on_portions(mode: Mode, text: str, data: st.DataObject) -> None:
    """Any cutting of a text into messages, letter by letter too, gives the pieces of the whole."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    portions = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = pieces_of(text, mode)
    for parts in (portions, list(text)):
        reader = Reader(mode)
        assert [piece for part in parts for piece in reader.feed(part)] + reader.finish() == whole


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=100, deadline=None)
@given(text=any_text)
def test_pieces_say_the_whole_text(mode: Mode, text: str) -> None:
    """Cutting loses no word, doubles none and keeps their places and pauses."""
    words = [word for piece in pieces_of(text, mode) for word in piece.words]
    expected = read_aloud(text)
    assert [(word.text, word.start_char, word.end_char) for word in words] == [
        (word.text, word.start_char, word.end_char) for word in expected
    ]
    assert [word.pause != GAP for word in words] == [word.pause != GAP for word in expected]


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=100, deadline=None)
@given(text=any_text, at=st.integers(0, 60))
def test_a_reader_can_be_written_down(mode: Mode, text: str, at: int) -> None:
    """A reader that is restored from its state goes on as if nothing had been."""
    reader = Reader(mode)
    before = reader.feed(text[:at])
    copy = Reader(mode)
    copy.restore(json.loads(json.dumps(reader.state())))
    assert copy.received_chars == reader.received_chars
    assert before + copy.feed(text[at:]) + copy.finish() == pieces_of(text, mode)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=100, deadline=None)
@given(text=st.lists(st.sampled_from(_BITS), min_size=30, max_size=120).map("".join))
def test_pieces_are_bounded_and_know_their_context(mode: Mode, text: str) -> None:
    """No piece is longer than the limits; context is what was said in the sentence before, and the next word."""
    pieces = pieces_of(text, mode)
    for piece in pieces:
        assert 1 <= len(piece.words) <= LONGEST_PIECE
        assert sum(len(word.text) + 1 for word in piece.words) <= MOST_LETTERS
        assert (piece.words[-1].pause == GAP) == bool(piece.context_after)
    for before, piece in pairwise(pieces):
        ended = before.words[-1].pause in SENTENCE_ENDS
        context = () if ended else (*before.context_before, *before.words)[-10:]
        assert piece.context_before in (context, ())
        assert piece.begins_mid_phrase == (before.words[-1].pause == GAP)
        # A mark that stands alone may pause after the next word later than that word was known.
        assert [word.text for word in before.context_after] in ([], [piece.words[0].text])


def test_a_clause_is_given_out_at_its_blank() -> None:
    """Nothing waits for more than the blank after its punctuation."""
    reader = Reader()
    assert reader.feed("I came home late") == []
    assert reader.feed(",") == []
    assert said(reader.feed(" ")) == ["I came home late,"]
    assert said(reader.feed("and slept. ")) == ["and slept."]


def test_short_clauses_go_with_the_next_one() -> None:
    """Fewer than three words before a comma wait for more; a sentence, however short, does not."""
    assert said(pieces_of("Well, yes, I think so. No. Go, now!")) == ["Well, yes, I think so.", "No.", "Go, now!"]


@pytest.mark.parametrize(
    ("text", "more", "pieces"),
    [
        ("It is Dr. ", "Smith here. ", ["It is doctor Smith here."]),
        ("We met at 3 p.m. ", "Then we left. ", ["We met at three pm.", "Then we left."]),
        ("We met at 3 p.m. ", "today, as planned. ", ["We met at three pm today,", "as planned."]),
        ("He was born on March 3, ", "2024 in Rome. ", ["He was born on March third twenty twenty four in Rome."]),
        ("He was born on March 3, ", "and he left. ", ["He was born on March third,", "and he left."]),
        ("It costs exactly $3", ".50, I say. ", ["It costs exactly three dollars and fifty cents,", "I say."]),
        ("This is what it is: 3.", "5 or so. ", ["This is what it is:", "three point five or so."]),
        ("Cats and dogs etc. ", "are fine. ", ["Cats and dogs et cetera are fine."]),
    ],
)
def test_what_may_go_on_waits(text: str, more: str, pieces: list[str]) -> None:
    """Numbers and shortened words at the edge of what has come are not cut; the next word decides."""
    reader = Reader()
    first = reader.feed(text)
    assert said(first + reader.feed(more)) == pieces
    assert "".join(said(first)).count("doctor") == 0


def test_words_are_cut_with_one_word_of_look_ahead() -> None:
    """In `words` the first piece has three words, later ones six, and each knows the next word."""
    reader = Reader("words")
    assert reader.feed("one fine day we") == []
    (first,) = reader.feed(" ")
    assert said([first]) == ["one fine day"]
    assert [word.text for word in first.context_after] == ["we"]
    pieces = reader.feed("went to the old house on a hill ")
    assert said(pieces) == ["we went to the old house"]
    assert [word.text for word in pieces[0].context_before] == ["one", "fine", "day"]
    assert pieces[0].begins_mid_phrase


def test_words_are_cut_at_punctuation_too() -> None:
    """A clause ends its piece without a look-ahead; a sentence ends the context."""
    pieces = pieces_of("I was home, so. Then left", "words")
    assert said(pieces) == ["I was home,", "so.", "Then left."]
    assert [len(piece.context_before) for piece in pieces] == [0, 3, 0]
    assert [piece.begins_mid_phrase for piece in pieces] == [False, False, False]


def test_words_never_cut_a_number() -> None:
    """Money of two tokens stays in one piece."""
    reader = Reader("words")
    assert reader.feed("I paid $3 ") == []
    assert reader.feed("million ") == []
    assert said(reader.feed("for ")) == ["I paid three million dollars"]


def test_a_long_clause_is_cut_before_a_conjunction() -> None:
    """Where nothing pauses for thirty words, the piece ends before the last conjunction of its second half."""
    text = "one two three four five six seven eight nine ten " * 2 + "and so on " + "x ray " * 10
    pieces = pieces_of(text)
    assert [len(piece.words) for piece in pieces] == [20, 23]
    assert pieces[1].begins_mid_phrase
    assert len(pieces[1].context_before) == 10


def test_finish_speaks_what_is_there_and_text_may_follow() -> None:
    """The last word ends a sentence; places count on, context does not."""
    reader = Reader("words")
    first = [*reader.feed("say this n"), *reader.finish()]
    assert said(first) == ["say this ~n.".replace("~", "")]
    assert reader.finish() == []
    (second,) = [*reader.feed("ow then"), *reader.finish()]
    assert said([second]) == ["ow then."]
    assert (second.start_char, second.end_char, second.context_before) == (10, 17, ())
    assert reader.received_chars == 17


def test_a_message_of_100_kilobytes_is_pieces() -> None:
    """A large message is read in one call; every kind of endless run stays within the limits."""
    for run in ("word ", "9", "a", "\u65e5", "1 ", "Mr. ", "a,", "http://a/", "A.B.", "(", "\n"):
        pieces = pieces_of(run * (20_000 // len(run)))
        assert all(len(piece.words) <= LONGEST_PIECE for piece in pieces)
    assert sum(len(piece.words) for piece in pieces_of("word " * 20_000)) == 20_000
