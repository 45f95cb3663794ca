"""Every kind of message, for tests by example and by property."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from hypothesis import strategies as st

from streamer.audio.encodings import ENCODINGS
from streamer.session import messages as m

CLIENT_KINDS: tuple[type, ...] = typing.get_args(m.ClientMessage)
SERVER_KINDS: tuple[type, ...] = typing.get_args(m.ServerMessage)

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_SAMPLES = st.integers(0, 2**63 - 1)
_COUNTS = st.integers(0, 2**32 - 1)


def _field(name: str, declared: Any) -> st.SearchStrategy[Any]:
    if name in ("encoding", "output", "output_encoding"):
        return st.sampled_from(["", *ENCODINGS])
    if name == "mode":
        return st.sampled_from(["live", "file"])
    if name == "kind":
        return st.sampled_from(["speech_start", "speech_end"])
    if name == "task":
        return _TEXT.filter(bool)
    if typing.get_origin(declared) is types.UnionType:
        return st.none() | _field(name, typing.get_args(declared)[0])
    if typing.get_origin(declared) is tuple:
        return st.lists(instances(typing.get_args(declared)[0]), max_size=3).map(tuple)
    if dataclasses.is_dataclass(declared):
        return instances(declared)
    if declared is int:
        return _SAMPLES if "sample" in name and not name.endswith("rate") else _COUNTS
    return {str: _TEXT, float: _NUMBERS, bool: st.booleans(), bytes: st.binary(max_size=64)}[declared]


def instances(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a message dataclass that every wire can carry."""
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: _field(field.name, hints[field.name]) for field in dataclasses.fields(kind)})


client_messages = st.one_of(*map(instances, CLIENT_KINDS))
server_messages = st.one_of(*map(instances, SERVER_KINDS))
