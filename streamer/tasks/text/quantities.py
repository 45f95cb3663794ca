"""Money, percentages and measures: a number with a sign beside it, and ranges of such."""

from __future__ import annotations

import re

from streamer.tasks.text.folding import CURRENCIES, EN_DASH
from streamer.tasks.text.numbers import cardinal, decimal
from streamer.tasks.text.reading import Cursor, Reading, pause_after_point, said
from streamer.tasks.text.units import SHORTENED, unit_words

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_MONEY = re.compile(
    rf"([-+~]?)(US|A|C|NZ|HK|R)?([{CURRENCIES}])(-?)({NUMBER})(?:[-{EN_DASH}][{CURRENCIES}]?({NUMBER}))?"
    r"(k|K|m|M|mn|b|B|bn|tn|T)?(?:/([a-z]+))?"
)
_MONEY_AFTER = re.compile(rf"([-+~]?)({NUMBER})([{CURRENCIES}])")
_HEIGHT = re.compile(r"(\d)'(\d{1,2})")
_MEASURE = re.compile(rf"([-+~<>]?)({NUMBER})(?:%(?=[-{EN_DASH}]))?(?:[-{EN_DASH}]({NUMBER}))?-?([^\d.,-].*)?")
_NAMES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "\u00a3": ("pound", "pounds", "penny", "pence"),
    "\u20ac": ("euro", "euros", "cent", "cents"),
    "\u00a5": ("yen", "yen", "", ""),
    "\u20b9": ("rupee", "rupees", "paisa", "paise"),
}
_SUFFIXES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "b": "billion", "B": "billion",
    "bn": "billion", "tn": "trillion", "T": "trillion",
}  # fmt: skip
SIGNS = {"-": ["minus"], "+": ["plus"], "~": ["about"], "<": ["less", "than"], ">": ["more", "than"], "": []}
_ONE = re.compile(r"1(?:\.0+)?")


def read_money(cursor: Cursor) -> Reading | None:
    """Read `$3.50`, `-$5`, `$3 million`, `$5k`, `US$5`, `$5-10`, `$20/month` and `3.50\u20ac`."""
    token = cursor.first
    if found := _MONEY_AFTER.fullmatch(token.core):
        return Reading(said([*SIGNS[found[1]], *_amount(found[2], _NAMES[found[3]])], token))
    found = _MONEY.fullmatch(token.core)
    if found is None:
        return None
    sign, country, currency, minus, low, high, suffix, per = found.groups()
    last = cursor.follow() if not (suffix or per) else None
    last = last if last is not None and last.is_magnitude else None
    magnitude = _SUFFIXES[suffix] if suffix else last.lower if last else ""
    words = _sum(low, high, magnitude, _NAMES[currency], list(country or ""))
    rest = ["per", per] if per else []
    return Reading(said([*SIGNS[sign or minus], *words, *rest], token, last), 2 if last else 1)


def read_measure(cursor: Cursor) -> Reading | None:
    """Read a number and a unit: `10kg`, `5 km`, `-20\u00b0C`, `5-10%`, `5 million km`, `2 lbs.`, `6'2`."""
    token = cursor.first
    if found := _HEIGHT.fullmatch(token.core):
        return Reading(said([*cardinal(found[1]), "foot", *cardinal(found[2])], token))
    found = _MEASURE.fullmatch(token.core)
    if found is None:
        return None
    sign, low, high, attached = found.groups()
    number = [*SIGNS[sign], *decimal(low), *(["to", *decimal(high)] if high else [])]
    is_one = high is None and _ONE.fullmatch(low) is not None
    if attached:
        words = unit_words(attached, is_one, is_attached=True)
        pause = pause_after_point(cursor) if attached in SHORTENED else None
        return Reading(said([*number, *words], token), pause=pause) if words else None
    spoken, tokens = said(number, token), 1
    following = cursor.follow()
    if following is not None and following.is_magnitude:
        spoken, tokens, is_one = (*spoken, *said([following.lower], following)), 2, False
        following = cursor.follow(2)
    words = unit_words(following.core, is_one, is_attached=False) if following is not None else None
    if following is None or words is None:
        return None
    pause = pause_after_point(cursor, tokens) if following.core in SHORTENED else None
    return Reading((*spoken, *said(words, following)), tokens + 1, pause)


def _sum(low: str, high: str | None, magnitude: str, names: tuple[str, str, str, str], country: list[str]) -> list[str]:
    if high is None and not magnitude and not country:
        return _amount(low, names)
    number = [*decimal(low), *(["to", *decimal(high)] if high else []), *([magnitude] if magnitude else [])]
    is_one = high is None and not magnitude and _ONE.fullmatch(low) is not None
    return [*number, *country, names[0] if is_one else names[1]]


def _amount(number: str, names: tuple[str, str, str, str]) -> list[str]:
    """Words of an amount: two digits after the point are the small coins."""
    one, many, small, smalls = names
    whole, _, fraction = number.partition(".")
    if len(fraction) != 2 or not small:
        return [*decimal(number), one if _ONE.fullmatch(number) else many]
    units = [*decimal(whole), one if whole == "1" else many] if whole.strip("0,") else []
    coins = [*cardinal(fraction), small if fraction == "01" else smalls] if fraction != "00" else []
    if not units and not coins:
        return ["zero", many]
    return [*units, *(["and"] if units and coins else []), *coins]
