"""Shortened words: titles, Latin, places, measures of the calendar, initials and points within acronyms."""

from __future__ import annotations

import re

from streamer.tasks.text.dates import MONTHS
from streamer.tasks.text.reading import Cursor, Reading, Said, pause_after_point, said
from streamer.tasks.text.tokens import Token, pause_of
from streamer.tasks.text.word_sets import word_set

# Before a name: the point never ends a sentence.
_TITLES = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "prof": "professor", "gen": "general", "sen": "senator",
    "rep": "representative", "gov": "governor", "capt": "captain", "lt": "lieutenant", "col": "colonel",
    "sgt": "sergeant", "cpl": "corporal", "maj": "major", "rev": "reverend", "hon": "honorable", "pres": "president",
    "supt": "superintendent", "mt": "mount", "ft": "fort",
}  # fmt: skip
# The point may end a sentence: it does before a capital.
_WORDS = {
    "etc": "et cetera", "inc": "incorporated", "ltd": "limited", "corp": "corporation", "co": "company",
    "bros": "brothers", "jr": "junior", "sr": "senior", "dept": "department", "est": "established",
    "govt": "government", "ave": "avenue", "blvd": "boulevard", "rd": "road", "hwy": "highway", "apt": "apartment",
    "assn": "association", "univ": "university", "tues": "tuesday", "tue": "tuesday", "wed": "wednesday",
    "thu": "thursday", "thur": "thursday", "thurs": "thursday", "fri": "friday", "sept": "september", "esq": "esquire",
    "min": "minimum", "misc": "miscellaneous", "tel": "telephone", "ext": "extension", "intl":
    "international", "dist": "district", "phd": "PHD", "md": "MD",
}  # fmt: skip
# The sentence goes on.
_INNER = {
    "e.g": "for example", "eg": "for example", "i.e": "that is", "ie": "that is", "vs": "versus", "v.s": "versus",
    "approx": "approximately", "ca": "circa", "cf": "compare", "viz": "namely", "al": "al", "incl": "including",
    "excl": "excluding", "resp": "respectively", "aka": "AKA", "a.k.a": "AKA",
}  # fmt: skip
_WITHOUT_POINT = {
    "mr": "mister", "mrs": "missus", "dr": "doctor", "vs": "versus", "w/": "with", "w/o": "without", "b/c": "because",
    "and/or": "and or", "n/a": "not applicable", "c/o": "care of", "etc": "et cetera", "jr": "junior",
    "sr": "senior", "ph.d": "PHD", "prof": "professor", "&c": "et cetera",
    "wwi": "world war one", "wwii": "world war two", "'n": "and",
}  # fmt: skip
_BEFORE_NUMBERS = {
    "no": "number", "nos": "numbers", "p": "page", "pp": "pages", "fig": "figure", "figs": "figures", "vol": "volume",
    "ch": "chapter", "sec": "section", "eq": "equation", "ed": "edition", "pt": "part", "art": "article", "op": "opus",
    "tab": "table", "ver": "version", "approx": "approximately",
}  # fmt: skip
_DAYS = {"mon": "monday", "sat": "saturday", "sun": "sunday"}
_SHORT_MONTHS = {name[:3]: name for name in MONTHS if len(name) > 3}
# Shortened months and days that are words too: only if a number, a month or a comma follows.
_AMBIGUOUS = word_set("mar jan jun jul dec oct nov feb apr aug mon sat sun")
_INITIALISM = re.compile(r"(?:[A-Za-z]\.){1,9}(?:[A-Za-z](?:'?s)?|'s)")
_PH_D = re.compile(r"Ph\.?D", re.IGNORECASE)
_PERSONS = word_set("he she it they we i you the this that these there but and in on at so then what when my his her")


def read_abbreviation(cursor: Cursor) -> Reading | None:
    """Read a shortened word; asks for what follows where that decides what it means or whether a sentence ends."""
    token = cursor.first
    if token.lower in _WITHOUT_POINT and not token.tail.startswith("."):
        return Reading(_words(_WITHOUT_POINT[token.lower], token))
    if _PH_D.fullmatch(token.core):
        return Reading(_words("PHD", token), pause=pause_after_point(cursor))
    if _INITIALISM.fullmatch(token.core) and token.lower not in _INNER:
        return _initialism(cursor)
    return _with_point(cursor) if token.tail.startswith(".") and not token.tail.startswith("..") else None


def _with_point(cursor: Cursor) -> Reading | None:
    token = cursor.first
    if token.lower in ("st", "dr"):
        return _street_or_title(cursor)
    if len(token.core) == 1 and token.core.isupper():
        return _initial(cursor)
    if token.lower in _TITLES and token.is_capitalised:
        return _title(cursor, _TITLES[token.lower])
    if token.lower in _INNER:
        return Reading(_words(_INNER[token.lower], token), pause=_rest(token))
    if token.lower in _BEFORE_NUMBERS and (reading := _numbered(cursor)):
        return reading
    if token.lower in _WORDS:
        return Reading(_words(_WORDS[token.lower], token), pause=pause_after_point(cursor))
    return _calendar(cursor)


def _title(cursor: Cursor, name: str) -> Reading | None:
    """A title before its name; at the end of a line it is what it was shortened from, and a sentence ends."""
    rest = _rest(cursor.first)
    if cursor.peek() is None:
        return Reading(_words(name, cursor.first), pause=cursor.first.pause)
    return Reading(_words(name, cursor.first), pause=rest, is_open=True)


def _street_or_title(cursor: Cursor) -> Reading:
    """Saint and doctor before a name, street and drive after one: the capitals on both sides decide."""
    token, previous = cursor.first, cursor.previous
    following = cursor.peek()
    is_saint = token.lower == "st"
    is_after_name = previous is not None and (previous.is_capitalised or previous.core[:1].isdecimal())
    is_before_name = following is not None and following.is_capitalised and _rest(token) == "_"
    if is_before_name and not (is_after_name and is_saint and following is not None and following.lower in _PERSONS):
        return Reading(_words("saint" if is_saint else "doctor", token), pause="_", is_open=True)
    name = ("street" if is_saint else "drive") if is_after_name else "saint" if is_saint else "doctor"
    return Reading(_words(name, token), pause=pause_after_point(cursor))


def _initial(cursor: Cursor) -> Reading | None:
    """A letter for a name, as in `J. Smith`; any other ends its sentence."""
    token, previous = cursor.first, cursor.previous
    following = cursor.peek()
    is_name = following is not None and following.is_capitalised and (previous is None or previous.is_capitalised)
    if not is_name or _rest(token) != "_":
        return None
    return Reading(said([token.core], token, spelled=True), pause="_", is_open=True)


def _numbered(cursor: Cursor) -> Reading | None:
    token = cursor.first
    following = cursor.peek() if _rest(token) == "_" else None
    if following is None or not following.core[:1].isdecimal():
        return None
    return Reading(_words(_BEFORE_NUMBERS[token.lower], token), pause="_", is_open=True)


def _calendar(cursor: Cursor) -> Reading | None:
    token = cursor.first
    name = _SHORT_MONTHS.get(token.lower) or _DAYS.get(token.lower)
    if name is None or not token.is_capitalised:
        return None
    following = cursor.peek()
    if _rest(token) == "," or (following is not None and _is_of_calendar(following)):
        return Reading(_words(name, token), pause=_rest(token))
    return None


def _is_of_calendar(token: Token) -> bool:
    return token.core[:1].isdecimal() or token.lower in MONTHS or token.lower in _SHORT_MONTHS


def _initialism(cursor: Cursor) -> Reading:
    """Letters with points between them; they end a sentence only before a word that often begins one."""
    token = cursor.first
    letters = token.core.replace(".", "")
    ending = "s" if letters.endswith("s") and letters[:-1].isupper() else ""
    words = said([letters.removesuffix(ending).removesuffix("'")], token, spelled=True)
    if ending:
        words = said([letters], token)
    pause = pause_after_point(cursor)
    if pause == "." and token.tail == "." and (following := cursor.peek()) and following.lower not in _PERSONS:
        pause = "_"
    return Reading(words, pause=pause)


def _rest(token: Token) -> str:
    """The pause of the marks after the point of an abbreviation."""
    return pause_of(token.tail[1:])


def _words(text: str, token: Token) -> tuple[Said, ...]:
    return tuple(Said(word, token.start, token.end, is_spelled=word.isupper()) for word in text.split())
