"""Characters to what is read of them."""

from __future__ import annotations

import pytest

from streamer.tasks.text.folding import fold, greek_name, vulgar_fraction


@pytest.mark.parametrize(
    ("character", "folded"),
    [
        *zip("aZ9-'$", "aZ9-'$", strict=True),
        *zip("\u00e9\u0141\u00f1\u00c5", "eLnA", strict=True),
        *(("\u00df", "ss"), ("\u00e6", "ae"), ("\ufb01", "fi"), ("\u2026", "..."), ("\u2116", "No.")),
        *(("\u2019", "'"), ("\u201c", '"'), ("\u2010", "-"), ("\u2212", "-"), ("\u2013", "\u2013")),
        *(("\uff21", "A"), ("\u0663", "3"), ("\u20ac", "\u20ac"), ("\u00bd", "\u00bd"), ("\u00b2", "\u00b2")),
        *(("\u00b5", "\u03bc"), ("\u03ad", "\u03b5"), ("\u2103", "\u00b0C")),
        *((silent, "") for silent in "\u0301\u200d\ufe0f\u00ad\u2122\u65e5\u0416\x00\x1b\ufffd\ue000\U0001f600"),
        ("\ud800", ""),
    ],
)
def test_characters_are_folded(character: str, folded: str) -> None:
    """Latin letters lose accents, signs with names stay, and what cannot be said is nothing."""
    assert fold(character) == folded


def test_every_character_folds_to_what_can_be_read() -> None:
    """No character of the first planes folds to a blank or a control character."""
    for code in range(0x30000):
        assert not any(letter.isspace() for letter in fold(chr(code)) if chr(code) != " ")


def test_signs_have_names() -> None:
    """Greek letters and fractions are known by their Unicode names."""
    assert (greek_name("\u03c0"), greek_name("\u03bb")) == ("pi", "lambda")
    assert (vulgar_fraction("\u215e"), vulgar_fraction("x")) == ((7, 8), None)
