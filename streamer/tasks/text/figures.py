"""Numbers without a unit: places, decades, fractions, ranges, telephone numbers, years, and plain ones."""

from __future__ import annotations

import re

from streamer.tasks.text.dates import is_month
from streamer.tasks.text.folding import EN_DASH, vulgar_fraction
from streamer.tasks.text.numbers import cardinal, decade, decimal, digits, fraction, ordinal, year
from streamer.tasks.text.quantities import NUMBER, SIGNS
from streamer.tasks.text.reading import Cursor, Reading, Said, in_groups, said
from streamer.tasks.text.tokens import Token
from streamer.tasks.text.word_sets import word_set

_ORDINAL = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)", re.IGNORECASE)
_DECADE = re.compile(r"('?)(\d0|[1-9]\d\d0)('?)s")
_FRACTION = re.compile(r"([-+]?)(\d{1,4})/(\d{1,4})")
_RANGE = re.compile(rf"([~]?)({NUMBER})[-{EN_DASH}]({NUMBER})")
_NUMBER = re.compile(rf"([-+~<>]?)({NUMBER})")
_YEAR = re.compile(r"[1-9]\d{3}")
# Telephone numbers: of seven digits, or three groups and more, or with a plus before them.
_PHONE = re.compile(
    r"\+?\d{1,4}(?:[-.]\d{2,4}){2,}|\d{3}-\d{4}|\+\d{1,3}(?:[-.]\d{2,8})+|\+\d{6,}|\(\d{3}\)-?\d{3}-\d{4}"
)
_AREA, _LOCAL, _GROUP = re.compile(r"\d{3}"), re.compile(r"\d{3}[-.]\d{4}"), re.compile(r"\d[\d-]*")
_FEW = re.compile(r"[1-9]\d{0,2}")
_COUNTRY = re.compile(r"\+\d{1,3}")
_MOST_GROUPS = 6
_DOTTED = re.compile(r"\d+(?:\.\d+){2,}")
_LONGEST_COUNT = 9
_SAYINGS = {"24/7": "twenty four seven", "9/11": "nine eleven", "50/50": "fifty fifty", "50-50": "fifty fifty"}
_BEFORE_YEARS = word_set(
    "in since of by from until till before after during year circa summer winter spring fall autumn early late mid",
    "around class between",
)
_BEFORE_DECADES = word_set("the early late mid his her my their our your")
_FIRST_SURE_YEAR, _LAST_SURE_YEAR, _FIRST_YEAR = 1900, 2099, 1100


def read_ordinal(cursor: Cursor) -> Reading | None:
    """Read `21st`, and decades: `1990s`, `'90s`."""
    token = cursor.first
    if found := _ORDINAL.fullmatch(token.core):
        return Reading(said(ordinal(found[1].replace(",", "")), token))
    found = _DECADE.fullmatch(token.core)
    if found is None or not (found[1] or found[3] or len(found[2]) > 2 or _is_before_decades(cursor.previous)):
        return None
    return Reading(said(decade(found[2]), token))


def read_fraction(cursor: Cursor) -> Reading | None:
    """Read `3/4`, `2 1/2` and signs like one half, with a whole number before them or not."""
    token = cursor.first
    if token.core in _SAYINGS:
        return Reading(said(_SAYINGS[token.core].split(), token))
    if (whole := _whole_and_sign(token)) is not None:
        return Reading(said(whole, token))
    if found := _FRACTION.fullmatch(token.core):
        return Reading(said([*SIGNS[found[1]], *fraction(int(found[2]), int(found[3]))], token))
    if not (token.core.isdecimal() and (following := cursor.follow())):
        return None
    parts = _parts(following)
    if parts is None:
        return None
    return Reading((*said([*decimal(token.core), "and"], token), *said(_mixed(*parts), following)), 2)


def read_phone(cursor: Cursor) -> Reading | None:
    """Read digits in groups one by one: `555-1234`, `+1-555-123-4567`, `(555) 123-4567`, `+44 20 7946 0958`."""
    token = cursor.first
    if _PHONE.fullmatch(token.core):
        return Reading(_digit_groups(token))
    if _AREA.fullmatch(token.core) and token.tail == ")":
        local = cursor.peek()
        if local is not None and _LOCAL.fullmatch(local.core):
            return Reading((*_digit_groups(token, goes_on=True), *_digit_groups(local)), 2)
    return _international(cursor) if _COUNTRY.fullmatch(token.core) else None


def read_range(cursor: Cursor) -> Reading | None:
    """Read `5-10` and `1990-95`; numbers with several points, as versions and addresses have them."""
    token = cursor.first
    if _DOTTED.fullmatch(token.core):
        parts = [cardinal(part) for part in token.core.split(".")]
        joint = "dot" if len(parts) == 4 else "point"
        return Reading(said([word for part in parts for word in (joint, *part)][1:], token))
    found = _RANGE.fullmatch(token.core)
    if found is None:
        return None
    low, high = found[2], found[3]
    if _is_sure_year(low) and (_YEAR.fullmatch(high) or len(high) == 2):
        second = year(high) if len(high) == 4 else cardinal(high)
        return Reading(said([*year(low), "to", *second], token))
    return Reading(said([*SIGNS[found[1]], *decimal(low), "to", *decimal(high)], token))


def read_number(cursor: Cursor) -> Reading | None:
    """Read a number: as a year if it looks like one, digit by digit if it is long or begins with zero."""
    token = cursor.first
    found = _NUMBER.fullmatch(token.core)
    if found is None:
        return None
    sign, number = found.groups()
    if not sign and _YEAR.fullmatch(number) and _is_year(cursor, number):
        return Reading(said(year(number), token))
    if number.isdecimal() and (len(number) > _LONGEST_COUNT or (number[0] == "0" and len(number) > 1)):
        return Reading(said([*SIGNS[sign], *digits(number)], token))
    if spaced := _spaced(cursor):
        return spaced
    words = said([*SIGNS[sign], *decimal(number)], token)
    following = cursor.follow()
    if following is not None and following.is_magnitude:
        return Reading((*words, *said([following.lower], following)), 2)
    return Reading(words)


def _spaced(cursor: Cursor) -> Reading | None:
    """A number with blanks between its thousands: two groups of three figures or more, or one of zeros."""
    first = cursor.first
    groups: list[Token] = []
    if not _FEW.fullmatch(first.core):
        return None
    while len(groups) < _MOST_GROUPS:
        following = cursor.follow(len(groups) + 1)
        if following is None or not _AREA.fullmatch(following.core):
            break
        groups.append(following)
    if not groups or (len(groups) == 1 and groups[0].core != "000"):
        return None
    number = "".join(token.core for token in (first, *groups))
    return Reading(said(cardinal(number), first, groups[-1]), len(groups) + 1)


def _is_year(cursor: Cursor, number: str) -> bool:
    if _is_sure_year(number):
        return True
    previous = cursor.previous
    return int(number) >= _FIRST_YEAR and previous is not None and _is_before_years(previous)


def _is_sure_year(number: str) -> bool:
    return bool(_YEAR.fullmatch(number)) and _FIRST_SURE_YEAR <= int(number) <= _LAST_SURE_YEAR


def _is_before_years(token: Token) -> bool:
    return token.lower in _BEFORE_YEARS or is_month(token)


def _is_before_decades(token: Token | None) -> bool:
    """Tell whether figures after `token` are years rather than seconds: "the 90s" as against "90s"."""
    return token is not None and token.lower in _BEFORE_DECADES


def _whole_and_sign(token: Token) -> list[str] | None:
    """Words of `2\u00bd` or `\u00bd`; None for anything else."""
    parts = vulgar_fraction(token.core[-1:]) if token.core else None
    if parts is None:
        return None
    whole = token.core[:-1]
    if not whole:
        return fraction(*parts)
    return [*decimal(whole), "and", *_mixed(*parts)] if whole.isdecimal() else None


def _mixed(above: int, below: int) -> list[str]:
    return ["a", *fraction(above, below)[1:]] if above == 1 else fraction(above, below)


def _parts(token: Token) -> tuple[int, int] | None:
    if len(token.core) == 1:
        return vulgar_fraction(token.core)
    found = _FRACTION.fullmatch(token.core)
    if found is None or found[1]:
        return None
    above, below = int(found[2]), int(found[3])
    return (above, below) if 0 < above < below else None


def _digit_groups(token: Token, goes_on: bool = False) -> tuple[Said, ...]:
    groups = [digits(group) for group in re.findall(r"\d+", token.core)]
    plus = [["plus", *groups[0]], *groups[1:]] if token.core.startswith("+") else groups
    return in_groups(plus, token, goes_on)


def _international(cursor: Cursor) -> Reading | None:
    words, tokens = _digit_groups(cursor.first, goes_on=True), 1
    while tokens < _MOST_GROUPS:
        following = cursor.follow(tokens)
        if following is None or not _GROUP.fullmatch(following.core):
            break
        words, tokens = (*words, *_digit_groups(following, goes_on=True)), tokens + 1
    return Reading(words, tokens) if tokens > 2 else None
