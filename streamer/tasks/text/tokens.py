"""Tokens: what stands between blanks, folded, and cut into quotes, core, and the punctuation after it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from streamer.tasks.text.folding import CURRENCIES, EM_DASH, EN_DASH, fold
from streamer.tasks.text.spoken import GAP
from streamer.tasks.text.word_sets import word_set

_OPENING = "\"'([{<>*_~|\\^"
_CLOSING = f".,;:!?\"')]}}>*_~|-{EN_DASH}{EM_DASH}\\^"
# An apostrophe that belongs to the word after it.
_ELIDED = re.compile(r"'(?:\d\ds?(?!\w)|(?:em|til|tis|twas|cause|bout|round|n)\b)", re.IGNORECASE)
_SIGNED = re.compile(rf"[-+.<>~]+[{CURRENCIES}]?\.?\d")
_SMILEY = re.compile(r"[:;=]'?-?[)(DPpOo/|*\]\[]+")
_ADDRESS = re.compile(r"://|^www\.|@[\w-]+\.|^[\w+-]+(?:\.[\w+-]+)*\.[a-z]{2,6}(?:[/?#:]|$)")
_ELLIPSIS = re.compile(r"\.\.+")
# Where words that no blank parts are two: dashes, ellipses, and punctuation that a blank was forgotten after.
_SEAM = re.compile(
    rf"(?:{EM_DASH}+|--+|\.\.\.+)(?=\w)"
    r"|(?<=[a-z]{2}[,;!?])(?=[A-Za-z])|(?<=[a-z]{2}[.:])(?=[A-Z][a-z])|(?<=[A-Z]\.)(?=[A-Z][a-z])"
    r"|(?<=[A-Z][a-z]\.)(?=[A-Z][a-z])"
)
_MAGNITUDES = word_set("hundred thousand million billion trillion")


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the folded text.

    `core` holds no quotes and no punctuation at its ends; `places[i]` is where its character `i` comes from, in code
    points of the stream, and `end` where the core ends there. `tail` is what was taken off its end. `is_joined` says
    that no blank stands between this token and the next.
    """

    core: str
    places: tuple[int, ...]
    end: int
    tail: str
    is_joined: bool = False

    @property
    def start(self) -> int:
        """Where the core begins in the stream's text."""
        return self.places[0] if self.places else self.end

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Where the characters `start` to `stop` of the core come from; those of one ligature share its place."""
        end = self.places[stop] if stop < len(self.places) else self.end
        return self.places[start], max(end, self.places[stop - 1] + 1)

    @property
    def lower(self) -> str:
        """The core in lower case."""
        return self.core.lower()

    @property
    def pause(self) -> str:
        """The pause that the punctuation after the core asks for."""
        return pause_of(self.tail)

    @property
    def is_capitalised(self) -> bool:
        """Tell whether the core begins with a capital."""
        return self.core[:1].isupper()

    @property
    def is_magnitude(self) -> bool:
        """Tell whether the core multiplies a number before it."""
        return self.lower in _MAGNITUDES

    def plain(self) -> list[object]:
        """The token as JSON-compatible data."""
        return [self.core, list(self.places), self.end, self.tail, self.is_joined]

    @classmethod
    def of_plain(cls, plain: Sequence[Any]) -> Token:
        """Make the token again that `plain` was called on."""
        core, places, end, tail, is_joined = plain
        return cls(core, tuple(places), end, tail, is_joined)


def pause_of(tail: str) -> str:
    """The pause of punctuation: the strongest mark decides, brackets and ellipses are commas, quotes nothing."""
    for mark in ("?", "!"):
        if mark in tail:
            return mark
    if _ELLIPSIS.search(tail):
        return ","
    for mark in (".", ";", ":", ","):
        if mark in tail:
            return mark
    if EM_DASH in tail or "-" in tail or EN_DASH in tail:
        return "-"
    return "," if ")" in tail or "]" in tail else GAP


def tokenise(raw: str, start: int) -> list[Token]:
    """Cut what stood between two blanks, from the place `start` on, into tokens; nothing for an emoji.

    A token without a core is punctuation that stands alone.
    """
    folded: list[str] = []
    places: list[int] = []
    for index, character in enumerate(raw):
        for letter in fold(character):
            folded.append(letter)
            places.append(start + index)
    text, end = "".join(folded), start + len(raw)
    if not text or _SMILEY.fullmatch(text):
        return []
    seams = [0, *_seams(text), len(text)]
    parts = [(first, last) for first, last in pairwise(seams) if first < last]
    return [_token(text[first:last], places, first, last, end) for first, last in parts]


def _seams(text: str) -> list[int]:
    return [] if _ADDRESS.search(text) else [found.end() for found in _SEAM.finditer(text)]


def _token(text: str, places: list[int], first: int, last: int, end: int) -> Token:
    lead = 0
    while lead < len(text) and text[lead] in _OPENING + "-+." and not _belongs(text[lead:]):
        lead += 1
    stop = len(text)
    while stop > lead and text[stop - 1] in _CLOSING and not _closes(text[lead:stop]):
        stop -= 1
    if stop == lead:
        # Marks alone: all of them count, whatever end they would be taken from.
        lead, stop = 0, 0
    after = places[first + stop] if first + stop < len(places) else end
    if lead < stop:
        after = max(after, places[first + stop - 1] + 1)
    return Token(text[lead:stop], tuple(places[first + lead : first + stop]), after, text[stop:], last < len(places))


def _closes(text: str) -> bool:
    """Tell whether the bracket that `text` ends with was opened within it, as in `word(s)`."""
    return text[-1] == ")" and "(" in text


def _belongs(text: str) -> bool:
    """Tell whether the mark that `text` begins with is part of a word or number."""
    if text[:2] in (">=", "<="):
        return True
    if text[0] == "+":
        return len(text) == 1 or text[1].isdecimal() or text[1] in CURRENCIES
    return bool(_ELIDED.match(text) or _SIGNED.match(text))
