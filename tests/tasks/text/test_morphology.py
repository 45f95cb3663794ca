"""Pronunciations made of those of other words."""

from __future__ import annotations

import pytest

from streamer.tasks.text.heteronyms import choose, is_heteronym
from streamer.tasks.text.letters import is_initials, letter_sounds
from streamer.tasks.text.morphology import derive, split_clitic
from tests.tasks.text.toy import LEXICON

_MORE = {
    "stop": ("S", "T", "AA1", "P"), "bake": ("B", "EY1", "K"), "want": ("W", "AA1", "N", "T"), "cry": ("K", "R", "AY1"),
    "color": ("K", "AH1", "L", "ER0"), "theater": ("TH", "IY1", "AH0", "T", "ER0"),
    "watch": ("W", "AA1", "CH"), "happy": ("HH", "AE1", "P", "IY0"),
}  # fmt: skip
_KNOWN = LEXICON | _MORE


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("cats", "K AE1 T S"),
        ("houses", "HH AW1 S IH0 Z"),
        ("worlds", "W ER1 L D Z"),
        ("watches", "W AA1 CH IH0 Z"),
        ("cries", "K R AY1 Z"),
        ("stopped", "S T AA1 P T"),
        ("baked", "B EY1 K T"),
        ("wanted", "W AA1 N T IH0 D"),
        ("cried", "K R AY1 D"),
        ("stopping", "S T AA1 P IH0 NG"),
        ("baking", "B EY1 K IH0 NG"),
        ("unhappy", "AH0 N HH AE1 P IY0"),
        ("worldless", "W ER1 L D L AH0 S"),
        ("smartwatch", "S M AA1 R T W AA2 CH"),
        ("colour", "K AH1 L ER0"),
        ("theatre", "TH IY1 AH0 T ER0"),
    ],
)
def test_forms_are_derived(word: str, sounds: str) -> None:
    """Endings sound as the sound before them asks for; two known words make one."""
    assert derive(word, _KNOWN.get) == tuple(sounds.split())


@pytest.mark.parametrize("word", ["zorblax", "s", "ing", "boss", "xcats", "catx", "uncat", "gos"])
def test_other_words_are_not_derived(word: str) -> None:
    """What is too short to be sure of, or holds no known word, is left to be spelled."""
    assert derive(word, _KNOWN.get) is None


@pytest.mark.parametrize(
    ("word", "stem", "said"),
    [
        *(("cat's", "cat", "K AE1 T S"), ("cats'", "cats", "K AE1 T"), ("cat'll", "cat", "K AE1 T AH0 L")),
        *(("cat'd", "cat", "K AE1 T IH0 D"), ("catn't", "cat", "K AE1 T AH0 N T"), ("cat've", "cat", "K AE1 T AH0 V")),
    ],
)
def test_clitics_are_taken_off(word: str, stem: str, said: str) -> None:
    """What follows an apostrophe is a rule of its own."""
    found = split_clitic(word)
    assert found is not None
    assert (found[0], " ".join(found[1](("K", "AE1", "T")))) == (stem, said)


def test_words_without_a_clitic_are_whole() -> None:
    """An apostrophe alone, or within a word, is none."""
    assert [split_clitic(word) for word in ("cat", "'s", "o'clock", "'tis")] == [None] * 4


def test_letters_have_names() -> None:
    """Letters are named one by one."""
    assert letter_sounds("aW'") == ("EY1", "D", "AH1", "B", "AH0", "L", "Y", "UW0")


@pytest.mark.parametrize(
    ("word", "is_known", "expected"),
    [
        ("NASA", True, False),
        ("US", True, True),
        ("XKCD", False, True),
        ("QRSTVW", False, True),
        ("COVIDS", False, False),
    ],
)
def test_capitals_are_words_or_initials(word: str, is_known: bool, expected: bool) -> None:
    """Known words are said, apart from a few; unknown ones are spelled if short or without a vowel."""
    assert is_initials(word, is_known) == expected


@pytest.mark.parametrize(
    ("word", "previous", "following", "sounds"),
    [
        *(("read", "have", "it", "R EH1 D"), ("read", "i", "it", "R IY1 D"), ("live", "a", "show", "L AY1 V")),
        *(("record", "the", "", "R EH1 K ER0 D"), ("record", "to", "", "R IH0 K AO1 R D")),
        *(("use", "the", "of", "Y UW1 S"), ("use", "we", "it", "Y UW1 Z"), ("used", "", "to", "Y UW1 S T")),
        *(("close", "so", "", "K L OW1 S"), ("close", "please", "the", "K L OW1 Z"), ("lead", "", "pipe", "L EH1 D")),
    ],
)
def test_heteronyms_depend_on_their_neighbours(word: str, previous: str, following: str, sounds: str) -> None:
    """Simple contexts tell them apart; without any, the usual one is said."""
    assert is_heteronym(word)
    assert choose(word, previous, following) == tuple(sounds.split())
