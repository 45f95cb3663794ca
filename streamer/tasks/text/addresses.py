"""Addresses of the web and of mail, names of files, handles: their marks are named."""

from __future__ import annotations

import re

from streamer.tasks.text.numbers import cardinal, digits
from streamer.tasks.text.reading import Cursor, Reading, Said
from streamer.tasks.text.tokens import Token
from streamer.tasks.text.word_sets import word_set

_SCHEME = re.compile(r"(?:https?|ftp|wss?|grpcs?)://")
_MAIL = re.compile(r"(?:mailto:)?[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_DOTTED = re.compile(r"[\w-]+(?:\.[\w-]+)+(?:[:/?#].*)?")
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^A-Za-z\d]")
_MARKS = {
    ".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", ",": "comma", "!": "bang",
    "*": "star",
}  # fmt: skip
# Endings of names and files that are said as words; other short ones are spelled.
_WORDS = word_set("com net info biz dev app me shop blog online tech page live news zip bin doc docs text json bat")
_LONGEST_SPELLED = 4
_VOWELS = frozenset("aeiouy")


def read_address(cursor: Cursor) -> Reading | None:
    """Read `https://a.org/b`, `me@x.com`, `example.com`, `main.py`; the scheme of an address is left out."""
    token = cursor.first
    core = token.core
    start = found.end() if (found := _SCHEME.match(core)) else 0
    if not start and not core.startswith("www.") and not _MAIL.fullmatch(core) and not _is_dotted_name(core):
        return None
    stop = len(core) - (start > 0 and core.endswith("/"))
    if start >= stop:
        return None
    words = tuple(_words(token, start, stop))
    return Reading(words) if words else None


def _is_dotted_name(core: str) -> bool:
    return bool(_DOTTED.fullmatch(core)) and any(letter.isalpha() for letter in core.rpartition(".")[2])


def _words(token: Token, start: int, stop: int) -> list[Said]:
    words: list[Said] = []
    after_dot = False
    for found in _PIECE.finditer(token.core, start, stop):
        text = found[0]
        first, last = token.span(*found.span())
        if text in _MARKS:
            words += [Said(word, first, last) for word in _MARKS[text].split()]
        elif text.isdecimal():
            words += [Said(word, first, last) for word in (cardinal(text) if len(text) < 3 else digits(text))]
        elif text.isascii() and text.isalpha():
            words.append(Said(text, first, last, is_spelled=_is_spelled(text, after_dot)))
        after_dot = text == "."
    return words


def _is_spelled(text: str, is_ending: bool) -> bool:
    lower = text.lower()
    if len(text) == 1 or lower == "www" or not _VOWELS & set(lower):
        return lower not in _WORDS
    return is_ending and len(text) < _LONGEST_SPELLED and lower not in _WORDS and lower != "org"
