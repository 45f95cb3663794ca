"""Utterances of symbols: where they begin and end, whatever pieces their text comes in."""

from __future__ import annotations

from streamer.tasks.text.symbols import SymbolTable
from streamer.tasks.token_text import Composer, Script, Scripts, closed
from tests.toys.voice import IDS, SYMBOLS

COMPOSER = Composer.of(SymbolTable(SYMBOLS), 12)


def composed(*pieces: str) -> list[str]:
    """The utterances of pieces, each written with spaces; `+` follows one that is not complete."""
    scripts: Scripts = ()
    for piece in pieces:
        scripts = COMPOSER.add(scripts, [IDS[symbol] for symbol in piece.split()])
    return [_written(script) for script in scripts]


def _written(script: Script) -> str:
    return " ".join(SYMBOLS[number] for number in script.ids) + ("" if script.is_complete else " +")


def test_an_utterance_is_a_sentence() -> None:
    """A clause is none of its own, unless text ends with it."""
    assert composed("^ T UW1 .") == ["^ T UW1 ."]
    assert composed("^ T UW1 ,", "T UW1 !", "^ L D ?") == ["^ T UW1 , T UW1 !", "^ L D ?"]
    assert composed("^ T UW1 ,") == ["^ T UW1 , +"]
    assert composed("^ T UW1", "_ T") == ["^ T UW1 _ T +"]
    assert composed() == composed("") == []
    script = Script((1, 2))
    assert closed((script,)) == (Script((1, 2), True),)
    assert closed(()) == ()
    assert closed(closed((script,))) == closed((script,))


def test_a_long_sentence_is_several() -> None:
    """They end with a clause from half of the most symbols on, before the piece that does not fit at the latest."""
    assert composed("^ T UW1 D UW1 ,", "T UW1") == ["^ T UW1 D UW1 ,", "^ T UW1 +"]
    assert composed("^ T UW1 D ,", "T UW1") == ["^ T UW1 D , T UW1 +"]
    long = "_ T UW1 T UW1 T UW1"
    assert composed("^ T UW1 D UW1 T", long, "_ D .") == ["^ T UW1 D UW1 T", "^ T UW1 T UW1 T UW1 _ D ."]


def test_a_piece_that_is_too_long_is_cut_at_a_gap() -> None:
    """Or anywhere if there is none; no part of it is lost, and each begins as a text does."""
    word = "T UW1 T UW1"
    assert composed(f"^ {word} _ {word} _ {word} .") == [f"^ {word} _ {word}", f"^ {word} ."]
    assert composed("^ " + "T UW1 " * 12) == [
        "^ " + " ".join(["T UW1"] * 5),
        "^ " + " ".join(["T UW1"] * 5) + " T",
        "^ UW1 T UW1 +",
    ]
