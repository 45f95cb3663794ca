"""Characters as the rest of the front end reads them: ASCII where that loses nothing that is said."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

EM_DASH, EN_DASH = "\u2014", "\u2013"
CURRENCIES = "$\u00a3\u20ac\u00a5\u20b9"
# Signs that are named, or that stand in patterns.
_KEPT = frozenset(
    f"{EM_DASH}{EN_DASH}{CURRENCIES}\u00b0\u00b1\u00b2\u00b3\u00d7\u00f7\u00a7\u2030\u2248\u2260\u2264\u2265\u221e"
)
_REPLACED = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u2032\u00b4\u0060\uff07", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\u2039\u203a", '"'),
    **dict.fromkeys("\u2010\u2011\u2212\ufe63\uff0d", "-"),
    "\u2012": EN_DASH,
    "\u2015": EM_DASH,
    "\u2026": "...",
    "\u2044": "/",
    "\u00a1": "",
    "\u00bf": "",
    # Letters that no decomposition takes apart.
    "\u00c6": "AE", "\u00e6": "ae", "\u0152": "OE", "\u0153": "oe", "\u00d8": "O", "\u00f8": "o", "\u00df": "ss",
    "\u1e9e": "SS", "\u0110": "D", "\u0111": "d", "\u0141": "L", "\u0142": "l", "\u00de": "Th", "\u00fe": "th",
    "\u00d0": "D", "\u00f0": "d", "\u0131": "i", "\u0130": "I", "\u0126": "H", "\u0127": "h", "\u014a": "N",
    "\u014b": "ng", "\u00b5": "\u03bc", "\u03c2": "\u03c3", "\u2126": "\u03a9",
    "\u3001": ",", "\u3002": ".", "\uff0c": ",", "\u2103": "\u00b0C", "\u2109": "\u00b0F", "\u00ba": "\u00b0",
    "\u2116": "No.",
}  # fmt: skip


@lru_cache(4096)
def fold(character: str) -> str:
    """What `character` is read as: ASCII, a sign or Greek letter that has a name, a vulgar fraction, or nothing.

    Accents are dropped, ligatures and full-width forms taken apart, digits of other scripts become 0-9. Letters of
    other scripts, emoji, marks and control characters become "".
    """
    if character in _REPLACED:
        return _REPLACED[character]
    if character.isascii():
        return character if character.isprintable() else ""
    if character in _KEPT or is_greek(character):
        return character
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    # Trade marks and emoji of letters come apart into letters that nobody says.
    if category == "So":
        return ""
    decomposed = unicodedata.normalize("NFKD", character)
    if vulgar_fraction(character):
        return character
    return "".join(letter for letter in decomposed if "!" <= letter <= "~") or _greek(decomposed)


def is_greek(character: str) -> bool:
    """Tell whether `character` is a letter of the Greek alphabet without an accent."""
    return "\u0391" <= character <= "\u03c9" and character.isalpha() and not "\u03aa" <= character <= "\u03b0"


def greek_name(character: str) -> str:
    """The English name of a Greek letter."""
    name = unicodedata.name(character).split()[-1].lower()
    return {"lamda": "lambda"}.get(name, name)


def vulgar_fraction(character: str) -> tuple[int, int] | None:
    """Numerator and denominator of a sign like one half; None for other characters."""
    above, slash, below = unicodedata.normalize("NFKD", character).partition("\u2044")
    return (int(above), int(below)) if slash and above.isdecimal() and below.isdecimal() else None


def _greek(decomposed: str) -> str:
    return "".join(letter for letter in decomposed if is_greek(letter))
