"""Words to symbols: lexicon, rules, letters, context, and what is left to be spelled."""

from __future__ import annotations

import pytest

from streamer.tasks.text.normalise import read_aloud
from streamer.tasks.text.pronounce import Pronouncer
from streamer.tasks.text.reader import Reader
from streamer.tasks.text.spoken import Piece, SpokenWord
from tests.tasks.text.toy import LEXICON

pronouncer = Pronouncer(LEXICON.get)


def symbols(text: str) -> str:
    return " ".join(pronouncer.pronounce(Piece(tuple(read_aloud(text)))).symbols)


def unknown(text: str) -> tuple[str, ...]:
    return pronouncer.unknown(Piece(tuple(read_aloud(text))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world.", "^ HH AH0 L OW1 , W ER1 L D ."),
        ("Hello world?", "^ HH AH0 L OW1 _ W ER1 L D ?"),
        ("the apple, the cat", "^ DH IY0 _ AE1 P AH0 L , DH AH0 _ K AE1 T ."),
        ("to eat to go to", "^ T UW1 _ IY1 T _ T AH0 _ G OW1 _ T UW1 ."),
        ("a cat, Vitamin A.", "^ AH0 _ K AE1 T , V AY1 T AH0 M AH0 N _ EY1 ."),
        ("FBI", "^ EH1 F B IY1 AY1 ."),
        ("NASA", "^ N AE1 S AH0 ."),
        ("U.S.A.", "^ Y UW1 EH1 S EY1 ."),
        ("CDs", "^ S IY1 D IY1 Z ."),
        ("FBI's", "^ EH1 F B IY1 AY1 Z ."),
        ("US", "^ Y UW1 EH1 S ."),
        ("GIVE US", "^ G IH1 V _ AH1 S ."),
        ("html", "^ EY1 CH T IY1 EH1 M EH1 L ."),
        ("cats' cat's", "^ K AE1 T S _ K AE1 T S ."),
        ("house's", "^ HH AW1 S IH0 Z ."),
        ("googled", "^ G UW1 G AH0 L D ."),
        ("smarthouse", "^ S M AA1 R T HH AW2 S ."),
        ("YouSmart", "^ Y UW1 S M AA1 R T ."),
        ("I have read it. I read it.", "^ AY1 _ HH AE1 V _ R EH1 D _ IH1 T . AY1 _ R IY1 D _ IH1 T ."),
        ("a live stream", "^ AH0 _ L AY1 V _ S T R IY1 M ."),
        ("we live", "^ W IY1 _ L IH1 V ."),
    ],
)
def test_words_become_symbols(text: str, expected: str) -> None:
    """Lexicon first, then rules; neighbours decide on weak forms, heteronyms and shouts."""
    assert symbols(text) == expected


def test_unknown_words_are_asked_for_once_by_their_stems() -> None:
    """Only what no rule makes is left to `spell`; endings are added to what it says."""
    assert unknown("the zorblax and Zorblax's cat zug") == ("zorblax", "zug")
    piece = Piece(tuple(read_aloud("zorblax's zug")))
    spelled = {"zorblax": ("Z", "AO1", "R"), "zug": ("Z", "AH1", "G")}
    assert " ".join(pronouncer.pronounce(piece, spelled).symbols) == "^ Z AO1 R Z _ Z AH1 G ."


def test_without_a_speller_letters_are_symbols() -> None:
    """A word that is missing in `spelled`, or empty there, is its letters."""
    piece = Piece(tuple(read_aloud("Zorblax's zug")))
    assert " ".join(pronouncer.pronounce(piece, {"zug": ()}).symbols) == "^ z o r b l a x ' s _ z u g ."


def test_words_have_spans_of_symbols() -> None:
    """Every word of the piece has the place of its sounds, without the pause after them."""
    piece = Piece(tuple(read_aloud("Hello, world")))
    found = pronouncer.pronounce(piece)
    assert [found.symbols[start:stop] for start, stop in found.word_spans] == [LEXICON["hello"], LEXICON["world"]]
    assert found.symbols[found.spoken] == found.symbols


def pieces(*texts: str) -> list[Piece]:
    reader = Reader("words")
    return [piece for text in texts for piece in reader.feed(text)] + reader.finish()


def test_context_is_heard_and_not_spoken() -> None:
    """What is spoken of all pieces, one after the other, is what the whole text is."""
    text = "Hello world we live to eat the apple, to go to the world."
    spoken = [
        symbol
        for piece in pieces(text)
        for found in [pronouncer.pronounce(piece)]
        for symbol in found.symbols[found.spoken]
    ]
    assert len(pieces(text)) > 2
    assert " ".join(spoken) == symbols(text)


def test_a_piece_in_mid_phrase_begins_with_its_gap() -> None:
    """With context the symbols begin with the context's; without, the gap stands for it."""
    first, second = pieces("Hello world we live")
    found = pronouncer.pronounce(second)
    assert " ".join(pronouncer.pronounce(first).symbols) == "^ HH AH0 L OW1 _ W ER1 L D _ W IY1 _ L IH1 V"
    assert " ".join(found.symbols[found.spoken]) == "_ L IH1 V ."
    alone = pronouncer.pronounce(Piece(second.words, begins_mid_phrase=True))
    assert " ".join(alone.symbols) == "_ L IH1 V ."
    assert alone.word_spans == ((1, 4),)


def test_a_piece_after_a_comma_begins_with_its_word() -> None:
    """The comma was spoken by the piece that it ends."""
    _, second = pieces("we eat apple, to go")
    found = pronouncer.pronounce(second)
    assert " ".join(found.symbols[found.spoken]) == "T AH0 _ G OW1 ."


def test_a_piece_needs_no_capitals_or_places() -> None:
    """Words may come from elsewhere than a reader."""
    assert pronouncer.pronounce(Piece((SpokenWord("CAT", 0, 0),))).symbols == ("^", "K", "AE1", "T")
