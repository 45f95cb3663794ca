"""Dates: ISO 8601, with slashes (month first unless that cannot be), with points (day first), and in words."""

from __future__ import annotations

import re

from streamer.tasks.text.clock import clock_words
from streamer.tasks.text.numbers import cardinal, ordinal, year
from streamer.tasks.text.reading import Cursor, Reading, Said, said
from streamer.tasks.text.tokens import Token

_NAMES = "January February March April May June July August September October November December".split()  # noqa: SIM905
MONTHS = {name.lower(): name for name in _NAMES}
_SHORT = {name[:3].lower(): name for name in _NAMES} | {"sept": "September"}
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)")
_WITHOUT_YEAR = re.compile(r"(1[0-2]|[1-9])/(2[1-9]|3[01])")
_POINTS = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_DAY = re.compile(r"(\d{1,2})(st|nd|rd|th)?")
_DAYS = re.compile(r"(\d{1,2})[-\u2013](\d{1,2})")
_YEAR = re.compile(r"[1-9]\d{3}")
_LONGEST_MONTH = 31
# Two digits of a year below this one are of this century.
_TURN = 70


def read_date(cursor: Cursor) -> Reading | None:
    """Read a date in figures: `2024-03-03`, `3/4/2024` (March fourth), `25/12/2024`, `3.4.2024` (April third).

    Without a year, `12/31` is a date if it can be no fraction that is said.
    """
    core = cursor.first.core
    if found := _ISO.fullmatch(core):
        number, month, day = (int(part) for part in found.groups()[:3])
        time = clock_words(int(found[4]), int(found[5])) if found[4] else []
        return _in_figures(cursor.first, number, month, day, time)
    if found := _SLASHES.fullmatch(core):
        month, day, number = int(found[1]), int(found[2]), int(found[3])
        month, day = (day, month) if month > len(_NAMES) else (month, day)
        return _in_figures(cursor.first, number if len(found[3]) > 2 else _full_year(number), month, day)
    if found := _WITHOUT_YEAR.fullmatch(core):
        return Reading(said([_NAMES[int(found[1]) - 1], *ordinal(found[2])], cursor.first))
    if found := _POINTS.fullmatch(core):
        return _in_figures(cursor.first, int(found[3]), int(found[2]), int(found[1]))
    return None


def read_month_first(cursor: Cursor) -> Reading | None:
    """Read `March 3`, `March 3rd, 2024`, `Mar. 3-5` and `March 2024`."""
    month = _month(cursor.first)
    if month is None or not _goes_on(cursor, 1):
        return None
    following = cursor.peek(1)
    if following is None:
        return None
    name = said([month], cursor.first)
    if _YEAR.fullmatch(following.core):
        return Reading((*name, *said(year(following.core), following)), 2)
    days = _days(following)
    if days is None:
        return None
    return _with_year(cursor, (*name, *said(days, following)), following, 2)


def read_day_first(cursor: Cursor) -> Reading | None:
    """Read `3 March 2024` as "the third of March"."""
    day = _DAY.fullmatch(cursor.first.core)
    if day is None or not 1 <= int(day[1]) <= _LONGEST_MONTH:
        return None
    following = cursor.follow()
    month = _month(following) if following is not None else None
    if following is None or month is None:
        return None
    first = said(["the", *ordinal(day[1]), "of"], cursor.first)
    return _with_year(cursor, (*first, *said([month], following)), following, 2)


def is_month(token: Token) -> bool:
    """Tell whether `token` is the name of a month, in full."""
    return token.lower in MONTHS and token.is_capitalised


def _month(token: Token) -> str | None:
    if not token.is_capitalised:
        return None
    return MONTHS.get(token.lower) or _SHORT.get(token.lower)


def _goes_on(cursor: Cursor, tokens: int) -> bool:
    """Tell whether the name of the month has no mark after it, but the point of a shortened one."""
    first = cursor.first
    return not first.is_joined and (first.tail == "" or (first.tail == "." and first.lower in _SHORT))


def _days(token: Token) -> list[str] | None:
    if (found := _DAYS.fullmatch(token.core)) and int(found[1]) < int(found[2]) <= _LONGEST_MONTH:
        return [*ordinal(found[1]), "to", *ordinal(found[2])]
    found = _DAY.fullmatch(token.core)
    return ordinal(found[1]) if found and 1 <= int(found[1]) <= _LONGEST_MONTH else None


def _with_year(cursor: Cursor, words: tuple[Said, ...], last: Token, tokens: int) -> Reading:
    """Add the year, if one follows, with or without a comma before it."""
    if last.tail not in ("", ",") or last.is_joined:
        return Reading(words, tokens)
    following = cursor.peek(tokens)
    if following is not None and _YEAR.fullmatch(following.core):
        return Reading((*words, *said(year(following.core), following)), tokens + 1)
    return Reading(words, tokens)


def _in_figures(token: Token, number: int, month: int, day: int, time: list[str] | None = None) -> Reading | None:
    if not (1 <= month <= len(_NAMES) and 1 <= day <= _LONGEST_MONTH):
        return None
    words = [_NAMES[month - 1], *ordinal(day), *(year(number) if number else cardinal(number)), *(time or [])]
    return Reading(said(words, token))


def _full_year(two_digits: int) -> int:
    return (2000 if two_digits < _TURN else 1900) + two_digits
