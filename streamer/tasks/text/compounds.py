"""Whatever is no number, date, address or abbreviation: words, compounds, letters mixed with figures, and signs."""

from __future__ import annotations

import re

from streamer.tasks.text.folding import greek_name, is_greek, vulgar_fraction
from streamer.tasks.text.numbers import cardinal, decade, decimal, digits, fraction, ordinal, year
from streamer.tasks.text.reading import Cursor, Reading, Said, said
from streamer.tasks.text.tokens import Token

# The most letters of one word: longer runs are cut.
LONGEST_WORD = 30
_PIECE = re.compile(
    r"[A-Za-z]+\(e?s\)|\d+(?:st|nd|rd|th)(?![A-Za-z])|\d+0s(?![A-Za-z])|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*|[A-Za-z]+(?:'[A-Za-z]+)*|'[a-z]+|."
)
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_YEAR = re.compile(r"1[1-9]\d\d|20\d\d")
_BY = re.compile(r"(\d+)[x\u00d7](\d+)")
_LONGEST_NUMBER = 2
_SIGNS = {
    "&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "$": "dollars", "\u00a3": "pounds",
    "\u20ac": "euros", "\u00a5": "yen", "\u20b9": "rupees", "\u00b0": "degrees", "\u00b1": "plus or minus",
    "\u00d7": "times", "\u00f7": "divided by", "\u00a7": "section", "\u2030": "per mille", "\u2248": "about",
    "\u2260": "does not equal", "\u2264": "is at most", "\u2265": "is at least", "\u221e": "infinity",
    "\u00b2": "squared", "\u00b3": "cubed", "/": "slash",
}  # fmt: skip
_OPERATORS = {">=": "is at least", "<=": "is at most", "!=": "does not equal", "==": "equals"}
_COMPARISONS = {"<": "is less than", ">": "is more than", "*": "times", "^": "to the power of"}


def read_compound(cursor: Cursor) -> Reading:
    """Read any token, piece by piece; marks without a meaning are silent, and so may be the whole."""
    token = cursor.first
    if not token.core:
        return Reading(_alone(cursor))
    if token.core in _OPERATORS:
        return Reading(said(_OPERATORS[token.core].split(), token))
    if found := _BY.fullmatch(token.core):
        return Reading(said([*cardinal(found[1]), "by", *cardinal(found[2])], token))
    if token.core in ("x", "\u00d7") and _is_between_numbers(cursor):
        return Reading(said(["by"], token))
    return Reading(tuple(word for found in _PIECE.finditer(token.core) for word in _piece(token, found)))


def _is_between_numbers(cursor: Cursor) -> bool:
    previous, following = cursor.previous, cursor.follow()
    return bool(previous and previous.core[-1:].isdecimal() and following and following.core[0].isdecimal())


def _alone(cursor: Cursor) -> tuple[Said, ...]:
    """Signs between figures or letters that the marks of other texts are, too: `2 * 3`, `a < b`."""
    token = cursor.first
    if token.tail not in _COMPARISONS or cursor.previous is None:
        return ()
    following = cursor.peek()
    if following is None or not following.core or (token.tail == "*" and not following.core[0].isdecimal()):
        return ()
    return tuple(Said(word, token.end, token.end + 1) for word in _COMPARISONS[token.tail].split())


def _piece(token: Token, found: re.Match[str]) -> list[Said]:
    text, (start, stop) = found[0], found.span()
    first, last = token.span(start, stop)
    if text[0].isascii() and (text[0].isalpha() or (text[0] == "'" and len(text) > 1)):
        return _word(token, text, start)
    words = _figures(token, found) if text[0].isdecimal() else _sign(token.core, text, start)
    return [Said(word, first, last) for word in words]


def _word(token: Token, text: str, start: int) -> list[Said]:
    """A word, in parts if it is long; letters that are no word are named."""
    if text.endswith(")"):
        return [Said(re.sub(r"[()]", "", text)[-LONGEST_WORD:], *token.span(start, start + len(text)))]
    parts = [(at, min(at + LONGEST_WORD, len(text))) for at in range(0, len(text), LONGEST_WORD)]
    beside = token.core[:start][-1:] + token.core[start + len(text) : start + len(text) + 1]
    is_letter = _is_letter(text, beside) or ("&" in beside and text.isupper())
    return [
        Said(text[at:to], *token.span(start + at, start + to), is_spelled=is_letter)
        for at, to in parts
        if text[at:to] != "'"
    ]


def _is_letter(text: str, beside: str) -> bool:
    """Tell whether one letter is its name: all but the words `a`, `I` and `O`, and those beside signs and figures."""
    if len(text) > 1:
        return False
    return text.lower() not in "aio" or beside not in ("", "-") or (text == "A" and beside == "-")


def _figures(token: Token, found: re.Match[str]) -> list[str]:
    """Figures within a word: short ones are numbers, long ones single digits, as in `A380`."""
    text = found[0]
    if place := _ORDINAL.fullmatch(text):
        return ordinal(place[1])
    before, after = token.core[: found.start()][-1:], token.core[found.end() : found.end() + 1]
    if text.endswith("s"):
        return decade(text[:-1])
    if before == "-" and _YEAR.fullmatch(text):
        return year(text)
    if after == "p" and len(text) in (3, 4):
        return [*cardinal(text[:-2]), *cardinal(text[-2:])]
    beside = before + after
    is_plain = text.isdecimal() and any(letter.isalpha() for letter in beside)
    if (is_plain and len(text) > _LONGEST_NUMBER) or (text[0] == "0" and text.isdecimal()):
        return digits(text)
    if text.count(".") > 1:
        return [word for part in text.split(".") for word in ("point", *cardinal(part))][1:]
    return decimal(text)


def _sign(core: str, text: str, start: int) -> list[str]:
    following = core[start + 1 : start + 2]
    if text == "#":
        return _hash(core, start, following)
    if is_greek(text):
        return [greek_name(text)]
    if parts := vulgar_fraction(text):
        return fraction(*parts)
    if text == "," and following.isdecimal():
        return ["comma"]
    if text == "-" and start == 0 and following.isdecimal():
        return ["minus"]
    if text in "<>*^":
        is_between = start > 0 and core[start - 1].isalnum() and following.isalnum()
        return _COMPARISONS[text].split() if is_between else []
    return _SIGNS.get(text, "").split()


def _hash(core: str, start: int, following: str) -> list[str]:
    """`#5`, `#topic` and `C#`; any other is silent."""
    if following.isdecimal():
        return ["number"]
    if following.isalpha() and start == 0:
        return ["hashtag"]
    return ["sharp"] if len(core) == 2 and core[0].isupper() else []
