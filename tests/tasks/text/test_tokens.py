"""What stands between two blanks: core, marks, places."""

from __future__ import annotations

import pytest

from streamer.tasks.text.tokens import Token, pause_of, tokenise


@pytest.mark.parametrize(
    ("raw", "cores"),
    [
        ('("word")', [("word", '")')]),
        ("-5", [("-5", "")]),
        ("'90s,", [("'90s", ",")]),
        ("'em", [("'em", "")]),
        ("'quoted'", [("quoted", "'")]),
        ("word(s)", [("word(s)", "")]),
        ("(555)", [("555", ")")]),
        ("U.S.A.", [("U.S.A", ".")]),
        ("end.Then", [("end", "."), ("Then", "")]),
        ("a\u2014b", [("a", "\u2014"), ("b", "")]),
        ("http://a.b/c.", [("http://a.b/c", ".")]),
        ("\u2014", [("", "\u2014")]),
        ("\U0001f600", []),
        (":-)", []),
    ],
)
def test_tokens_have_cores_and_tails(raw: str, cores: list[tuple[str, str]]) -> None:
    """Marks at both ends are taken off, but those that belong to numbers and words."""
    assert [(token.core, token.tail) for token in tokenise(raw, 0)] == cores


def test_places_are_those_of_the_text() -> None:
    """A character that becomes two has one place; a dropped one lengthens the one before."""
    (token,) = tokenise("\u00dfx\u0301y", 7)
    assert token.core == "ssxy"
    assert token.places == (7, 7, 8, 10)
    assert [token.span(0, 2), token.span(2, 3), token.span(3, 4)] == [(7, 8), (8, 10), (10, 11)]
    assert Token.of_plain(token.plain()) == token


@pytest.mark.parametrize(
    ("tail", "pause"),
    [
        (".", "."),
        ("?!", "?"),
        ('!"', "!"),
        ("...", ","),
        (".)", "."),
        (")", ","),
        ('"', "_"),
        ("\u2014", "-"),
        (";", ";"),
        ("", "_"),
    ],
)
def test_the_strongest_mark_decides(tail: str, pause: str) -> None:
    """Punctuation becomes one pause."""
    assert pause_of(tail) == pause
