"""Times of day and lengths of time: `3:45 pm`, `15:00`, `1:02:03`."""

from __future__ import annotations

import re

from streamer.tasks.text.numbers import cardinal
from streamer.tasks.text.reading import Cursor, Reading, Said, pause_after_point, said
from streamer.tasks.text.tokens import Token

_TIME = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?(?:([ap])\.?m)?", re.IGNORECASE)
_HOUR = re.compile(r"(\d{1,2})(?:([ap])\.?m)?", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,2})(?::(\d\d))?(?:([ap])m)?[-\u2013](\d{1,2})(?::(\d\d))?(?:([ap])m)?", re.IGNORECASE)
_HALF_OF_DAY = re.compile(r"([ap])\.?m", re.IGNORECASE)
_HOURS, _HALF, _MINUTES = 24, 12, 60


def read_time(cursor: Cursor) -> Reading | None:
    """Read a time with or without the half of the day, in the same token or the next."""
    token = cursor.first
    found = _TIME.fullmatch(token.core)
    if found is None:
        return _range(cursor) or _hour(cursor)
    hour, minute, second, half = int(found[1]), int(found[2]), found[3], found[4]
    if hour > _HOURS or minute >= _MINUTES:
        return None
    following = None if half else _half_of_day(cursor)
    is_whole = half is None and following is None and second is None
    words = said(clock_words(hour, minute, is_whole), token)
    if second is not None:
        words = (*words, *said(_two_digits(int(second)), token))
    return _with_half(cursor, words, half, following)


def _range(cursor: Cursor) -> Reading | None:
    """Two times in one token: `9am-5pm`, `3:00-4:00`."""
    token = cursor.first
    found = _RANGE.fullmatch(token.core)
    if found is None or not (":" in token.core or found[3] or found[6]):
        return None
    words: list[Said] = []
    for hour, minute, half in (found.groups()[:3], found.groups()[3:]):
        if int(hour) > _HOURS or int(minute or 0) >= _MINUTES:
            return None
        words += said([*(["to"] if words else []), *clock_words(int(hour), int(minute or 0), is_alone=False)], token)
        words += said([half + "m"] if half else [], token, spelled=True)
    return Reading(tuple(words))


def clock_words(hour: int, minute: int, is_alone: bool = True) -> list[str]:
    """Words of a time: "three forty five", "three oh five", "three o'clock" (if nothing follows), "fifteen hundred"."""
    if minute:
        return [*cardinal(hour), *_two_digits(minute)]
    if not is_alone:
        return cardinal(hour)
    return [*cardinal(hour), "o'clock" if 0 < hour <= _HALF else "hundred"]


def _hour(cursor: Cursor) -> Reading | None:
    token = cursor.first
    found = _HOUR.fullmatch(token.core)
    if found is None or not 1 <= int(found[1]) <= _HALF:
        return None
    following = None if found[2] else _half_of_day(cursor)
    if found[2] is None and following is None:
        return None
    return _with_half(cursor, said(cardinal(found[1]), token), found[2], following)


def _half_of_day(cursor: Cursor) -> Token | None:
    following = cursor.follow()
    return following if following is not None and _HALF_OF_DAY.fullmatch(following.core) else None


def _with_half(cursor: Cursor, words: tuple[Said, ...], half: str | None, following: Token | None) -> Reading:
    place = following or cursor.first
    letter = half or (place.core[0] if following else "")
    if not letter:
        return Reading(words)
    tokens = 2 if following else 1
    pause = pause_after_point(cursor, tokens - 1) if place.core[-2:-1] == "." else None
    return Reading((*words, Said(letter + "m", place.start, place.end, is_spelled=True)), tokens, pause)


def _two_digits(number: int) -> list[str]:
    return [*(["oh"] if number < 10 else []), *cardinal(number)]
