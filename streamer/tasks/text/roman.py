"""Roman numerals, only where nothing else can be meant: `Chapter IV`, `Henry VIII`, `World War II`."""

from __future__ import annotations

import re

from streamer.tasks.text.numbers import cardinal, ordinal
from streamer.tasks.text.reading import Cursor, Reading, said
from streamer.tasks.text.word_sets import word_set

_ROMAN = re.compile(r"X{0,3}(?:IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10}
_COUNTED = word_set(
    "chapter part book volume act scene section article appendix title phase type war bowl level figure table class",
    "mark episode stage tier factor canto psalm lesson unit",
)
_RULERS = word_set(
    "henry louis elizabeth george charles edward james william john paul pius benedict gregory leo richard philip",
    "frederick napoleon nicholas alexander catherine ivan peter mary francis otto wilhelm ferdinand alfonso clement",
    "innocent urban boniface ramses ramesses ptolemy xerxes darius margrethe harald gustav christian umberto victor",
    "emmanuel franz joseph leopold baudouin juan carlos felipe rainier albert beatrix akbar murad selim mehmed",
)
# Before these an I is a number; before the others it may be a person.
_BEFORE_ONE = word_set("chapter act scene volume war phase type class stage")


def read_roman(cursor: Cursor) -> Reading | None:
    """Read a numeral from I to XXXIX after what is counted, and as a place after the name of a ruler."""
    token, previous = cursor.first, cursor.previous
    body = token.core.removesuffix("'s")
    if previous is None or not previous.is_capitalised or not body or not _ROMAN.fullmatch(body):
        return None
    if body == "I" and previous.lower not in _BEFORE_ONE:
        return None
    if previous.lower in _COUNTED:
        words = cardinal(_value(body))
    elif previous.lower in _RULERS and not _is_initial(cursor):
        words = ["the", *ordinal(_value(body))]
    else:
        return None
    words[-1] += "'s" if token.core != body else ""
    return Reading(said(words, token))


def _is_initial(cursor: Cursor) -> bool:
    """Tell whether the numeral is rather the letter of a name: `John V. Smith`."""
    following = cursor.peek() if cursor.first.tail == "." and len(cursor.first.core) == 1 else None
    return following is not None and following.is_capitalised


def _value(numeral: str) -> int:
    values = [_VALUES[letter] for letter in numeral]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < following else value for value, following in pairs)
