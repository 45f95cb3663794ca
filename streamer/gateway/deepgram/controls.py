"""Text frames of live clients: `KeepAlive`, `Finalize`, `CloseStream` and `Configure`."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from streamer.errors import InvalidRequest

_MOST_CHARACTERS = 65536


class Control(Enum):
    """What a client wants beside hearing its audio."""

    KEEP_ALIVE = "KeepAlive"
    FINALIZE = "Finalize"
    CLOSE_STREAM = "CloseStream"
    # Other features or keyterms from now on, which no stream can be given here.
    CONFIGURE = "Configure"


# What each may say besides its type; of these, only what changes nothing is taken.
_FIELDS: dict[Control, dict[str, tuple[Any, ...]]] = {
    Control.FINALIZE: {"channel": (None, 0)},
}


def read_control(text: str) -> Control:
    """Read a text frame; raises `InvalidRequest` for what is none, or asks for what there is not."""
    if len(text) > _MOST_CHARACTERS:
        raise InvalidRequest(f"message: expected at most {_MOST_CHARACTERS} characters, got {len(text)}")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"message: expected JSON, got {text[:60]!r}") from None
    kind = message.get("type") if isinstance(message, dict) else None
    known = {control.value: control for control in Control}
    if not isinstance(kind, str) or kind not in known:
        raise InvalidRequest(f"message: expected a type {', '.join(known)}, got {text[:60]!r}")
    control = known[kind]
    if control is not Control.CONFIGURE:
        _check_fields(control, message)
    return control


def _check_fields(control: Control, message: dict[str, Any]) -> None:
    taken = _FIELDS.get(control, {})
    for name, value in message.items():
        if name != "type" and value not in taken.get(name, (None,)):
            raise InvalidRequest(f"{control.value}: expected nothing for {name!r:.60}, got {value!r:.60}")
