"""Units of measure: their signs, and their names for one and for many."""

from __future__ import annotations

_METRES = {"km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer"}
_OTHERS = {
    "kg": "kilogram", "g": "gram", "mg": "milligram", "mcg": "microgram", "\u03bcg": "microgram", "lb": "pound",
    "lbs": "pound", "oz": "ounce", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter",
    "cl": "centiliter", "gal": "gallon",
    "qt": "quart", "tsp": "teaspoon", "tbsp": "tablespoon", "mi": "mile", "ft": "foot", "yd": "yard", "in": "inch",
    "\u03bcm": "micrometer", "s": "second", "sec": "second", "secs": "second", "ms": "millisecond",
    "\u03bcs": "microsecond",
    "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "yr": "year", "yrs": "year",
    "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "MiB": "mebibyte",
    "GiB": "gibibyte", "W": "watt", "kW": "kilowatt", "MW": "megawatt", "V": "volt", "A": "ampere", "cal": "calorie",
    "kcal": "kilocalorie", "Pa": "pascal", "hPa": "hectopascal", "kPa": "kilopascal", "dB": "decibel", "px": "pixel",
    "\u00b0": "degree", "ha": "hectare",
}  # fmt: skip
# Signs that are shortened words, with a point after them or not.
SHORTENED = frozenset(
    [
        "lb",
        "lbs",
        "oz",
        "gal",
        "qt",
        "tsp",
        "tbsp",
        "mi",
        "ft",
        "yd",
        "in",
        "sec",
        "secs",
        "min",
        "mins",
        "h",
        "hr",
        "hrs",
        "yr",
        "yrs",
    ]
)
# Names that do not change, or whose many is no plural of the whole.
_FIXED = {
    "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "kWh": "kilowatt hours",
    "mAh": "milliampere hours", "%": "percent", "\u2030": "per mille", "rpm": "revolutions per minute",
    "fps": "frames per second", "kbps": "kilobits per second", "Mbps": "megabits per second",
    "Gbps": "gigabits per second", "Mbit/s": "megabits per second", "bps": "bits per second",
    "MB/s": "megabytes per second", "GB/s": "gigabytes per second", "mph": "miles per hour",
    "mpg": "miles per gallon", "km/h": "kilometers per hour", "kph": "kilometers per hour",
    "kmh": "kilometers per hour", "m/s": "meters per second", "m/s\u00b2": "meters per second squared",
    "x": "times", "\u00d7": "times", "pp": "percentage points",
}  # fmt: skip
_SCALES = {"C": "Celsius", "F": "Fahrenheit", "K": "Kelvin"}
# Signs that are words or letters too: only right after a number, not after a blank.
_ATTACHED_ONLY = frozenset(["in", "A", "x", "\u00d7", "pp"])
_IRREGULAR = {"foot": "feet", "inch": "inches"}
_POWERS = {"\u00b2": "square", "2": "square", "\u00b3": "cubic", "3": "cubic"}


def unit_words(sign: str, is_one: bool, is_attached: bool) -> list[str] | None:
    """The name of the unit `sign` for one or many; None for what is no unit, or none that stands after a blank."""
    if not is_attached and sign in _ATTACHED_ONLY:
        return None
    if sign in _FIXED:
        words = _FIXED[sign].split()
        return [words[0].removesuffix("s"), *words[1:]] if is_one and len(words) > 1 else words
    if sign.startswith("\u00b0") and sign[1:] in _SCALES:
        return [_many("degree", is_one), _SCALES[sign[1:]]]
    if sign[:-1] in _METRES and sign[-1] in _POWERS:
        return [_POWERS[sign[-1]], _many(_METRES[sign[:-1]], is_one)]
    above, per, below = sign.partition("/")
    if per:
        return _per(unit_words(above, is_one, is_attached), unit_words(below, True, True))
    name = _METRES.get(sign) or _OTHERS.get(sign)
    return [_many(name, is_one)] if name else None


def _per(above: list[str] | None, below: list[str] | None) -> list[str] | None:
    return [*above, "per", *below] if above and below else None


def _many(name: str, is_one: bool) -> str:
    return name if is_one else _IRREGULAR.get(name, name + "s")
