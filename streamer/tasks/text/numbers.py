"""Numbers to words, as Americans say them: `inflect` behind the few forms that text needs."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T")

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# From here on a number is said digit by digit: nobody counts in it.
_MOST_DIGITS = 18
_CENTURY = 100


@lru_cache(1)
def load() -> ModuleType:
    """Import `inflect`: call it before streams come. Later calls cost nothing.

    Its methods are decorated to check types, for which typeguard compiles each of them anew: three seconds that every
    start of a server would wait. What we pass is right without, so the decorator does nothing meanwhile.
    """
    import typeguard

    decorator = typeguard.typechecked
    setattr(typeguard, "typechecked", _as_it_is)  # noqa: B010 - an assignment would have to be of its overloads' type
    try:
        import inflect
    finally:
        setattr(typeguard, "typechecked", decorator)  # noqa: B010

    return inflect


def _as_it_is(function: T) -> T:
    return function


def cardinal(number: str | int) -> list[str]:
    """Words of a whole number, `-` before it or not; very long ones digit by digit."""
    text = str(number)
    if text.startswith("-"):
        return ["minus", *cardinal(text[1:])]
    text = text.lstrip("0") or "0"
    return digits(text) if len(text) > _MOST_DIGITS else list(_in_words(text))


def ordinal(number: str | int) -> list[str]:
    """Words of a place in a row: 21 is "twenty first"."""
    text = str(number).lstrip("0") or "0"
    if len(text) > _MOST_DIGITS:
        return digits(text)
    *words, last = _in_words(text)
    return [*words, *_plain(_engine().ordinal(last))]


def digits(text: str) -> list[str]:
    """One word for each digit of `text`; other characters are skipped."""
    return [_DIGITS[int(character)] for character in text if character in "0123456789"]


def decimal(text: str) -> list[str]:
    """Words of a number with or without thousands commas, fraction and sign: `-1,234.5`."""
    if text.startswith(("-", "+")):
        return ["minus" if text[0] == "-" else "plus", *decimal(text[1:])]
    whole, point, fraction = text.replace(",", "").partition(".")
    words = cardinal(whole) if whole else ["zero"]
    return [*words, "point", *digits(fraction)] if point else words


def year(number: str | int) -> list[str]:
    """Words of a year from 1 to 9999: 1905 "nineteen oh five", 2000 "two thousand", 1900 "nineteen hundred"."""
    century, rest = divmod(int(number), _CENTURY)
    if century < 10 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if rest == 0:
        return [*cardinal(century), "hundred"]
    return [*cardinal(century), *(["oh"] if rest < 10 else []), *cardinal(rest)]


def decade(text: str) -> list[str]:
    """Words of the ten years that begin with `text`, two digits or a year: 1990 "nineteen nineties"."""
    words = cardinal(text) if len(text) < 4 else year(text)
    return [*words[:-1], _plural(words[-1])]


def fraction(above: int, below: int) -> list[str]:
    """Words of a fraction: "one half", "three quarters", "two thirds"; large denominators "over"."""
    if below == 0 or (below > 20 and below not in (32, 64, 100, 1000)):
        return [*cardinal(above), "over", *cardinal(below)]
    names = {1: ["whole"], 2: ["half"], 4: ["quarter"]}
    *first, last = names.get(below) or ordinal(below)
    many = "halves" if last == "half" else last + "s"
    return [*cardinal(above), *first, last if above == 1 else many]


def _plural(word: str) -> str:
    return word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith("x") else "s")


@lru_cache(4096)
def _in_words(text: str) -> tuple[str, ...]:
    return tuple(_plain(_engine().number_to_words(text, andword="", comma="")))


def _plain(words: Any) -> list[str]:
    return str(words).replace("-", " ").split()


def _engine() -> Any:
    # An engine keeps counts while it works, so threads must not share one; making one costs microseconds.
    return load().engine()
