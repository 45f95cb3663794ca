"""Message dataclasses from and to plain JSON values, strict about types and names."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from functools import cache
from typing import Any, NoReturn

from streamer.errors import InvalidRequest

_EXPECTED = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
_INT64 = 2**63
_SHOWN = 60


def to_plain(message: Any) -> dict[str, Any]:
    """Return the fields of a message dataclass as JSON values."""
    return {name: _plain_value(getattr(message, name)) for name in field_types(message.__class__)}


def from_plain(kind: type, values: Any, where: str, strict: bool = True) -> Any:
    """Build a `kind` from a JSON object found at `where`.

    Raises `InvalidRequest` for a missing key, a wrong type and, if `strict`, an unknown key.
    """
    if not isinstance(values, dict):
        refuse(where, "an object", values)
    fields = field_types(kind)
    unknown = [key for key in values if key not in fields]
    if strict and unknown:
        # Only whole messages have a type.
        known = fields if "." in where else ("type", *fields)
        refuse(where, f"no keys but {', '.join(known)}", unknown[0])
    found = {}
    for name, declared in fields.items():
        if name in values:
            found[name] = _value(declared, values[name], f"{where}.{name}", strict)
        elif name in required(kind):
            raise InvalidRequest(f"{where}.{name}: expected {_expected(declared)}, got nothing")
    return kind(**found)


@cache
def field_types(kind: type) -> dict[str, Any]:
    """Return the declared type of each field of a dataclass, in order."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@cache
def required(kind: type) -> frozenset[str]:
    """Return the names of the fields of a dataclass that have no default."""
    missing = dataclasses.MISSING
    fields = dataclasses.fields(kind)
    return frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing)


def refuse(where: str, expected: str, got: Any) -> NoReturn:
    """Raise `InvalidRequest` saying what was expected at `where` and what was there, in short."""
    shown = {dict: "an object", list: "an array", type(None): "null"}.get(type(got))
    raise InvalidRequest(f"{where}: expected {expected}, got {shown or _shorten(repr(got))}")


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _plain_value(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [_plain_value(item) for item in value]
    return to_plain(value)


def _expected(declared: Any) -> str:
    return _EXPECTED.get(declared, "an array" if typing.get_origin(declared) is tuple else "an object")


def _value(declared: Any, value: Any, where: str, strict: bool) -> Any:
    if typing.get_origin(declared) is types.UnionType:
        return None if value is None else _value(typing.get_args(declared)[0], value, where, strict)
    if typing.get_origin(declared) is tuple:
        return _items(typing.get_args(declared)[0], value, where, strict)
    if dataclasses.is_dataclass(declared):
        return from_plain(typing.cast("type", declared), value, where, strict)
    if not _fits(declared, value):
        refuse(where, _EXPECTED[declared], value)
    return float(value) if declared is float else value


def _items(declared: Any, value: Any, where: str, strict: bool) -> tuple[Any, ...]:
    if not isinstance(value, list):
        refuse(where, "an array", value)
    return tuple(_value(declared, item, f"{where}[{index}]", strict) for index, item in enumerate(value))


def _fits(declared: type, value: Any) -> bool:
    """Whether a JSON value is of the declared type: bool is no number, integers fit int64, text is valid Unicode."""
    if declared is str:
        return isinstance(value, str) and _is_unicode(value)
    if isinstance(value, bool) or declared is bool:
        return declared is bool and isinstance(value, bool)
    if isinstance(value, int):
        return -_INT64 <= value < _INT64
    return declared is float and isinstance(value, float) and math.isfinite(value)


def _is_unicode(text: str) -> bool:
    # JSON can spell lone surrogates ("\ud800"), which no UTF-8 encoder takes back.
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
