"""Events of Realtime sessions on the wire: reads those of clients, numbers those of the server."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
from dataclasses import dataclass
from typing import Any

from streamer.errors import InvalidRequest, MessageTooLarge
from streamer.gateway.openai.errors import BadParameter, describe, expected

MAX_APPEND_BYTES = 15 << 20
# Longer texts are read on a thread, so that no other stream waits for them.
_SHORT = 1 << 18

UPDATE, BETA_UPDATE = "session.update", "transcription_session.update"
APPEND, COMMIT, CLEAR = "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"
_KEYS = {
    UPDATE: ("session",),
    BETA_UPDATE: ("session",),
    APPEND: ("audio",),
    COMMIT: (),
    CLEAR: (),
}

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """An event of a client; `event_id` is its own name for it, if it gave one."""

    type: str
    event_id: str | None
    values: dict[str, Any]


class BadEvent(InvalidRequest):
    """An event that cannot be served; the session goes on. `cause` says why, `event_id` is what the client named it."""

    def __init__(self, cause: InvalidRequest | MessageTooLarge, event_id: str | None = None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.event_id = event_id


async def read_event(text: str) -> ClientEvent:
    """Read the JSON text of one event; raises `BadEvent`."""
    values = await asyncio.to_thread(_load, text) if len(text) > _SHORT else _load(text)
    event_id = values.pop("event_id", None)
    if event_id is not None and not isinstance(event_id, str):
        raise BadEvent(expected("event_id", "a string", event_id))
    name = values.pop("type", None)
    if not isinstance(name, str) or name not in _KEYS:
        raise BadEvent(expected("type", f"one of {', '.join(_KEYS)}", name), event_id)
    for key in values:
        if key not in _KEYS[name]:
            raise BadEvent(BadParameter(key[:60], f"is not known in {name}"), event_id)
    return ClientEvent(name, event_id, values)


async def audio_of(event: ClientEvent) -> bytes:
    """Return the bytes of an event that appends audio; raises `BadParameter` or `MessageTooLarge`."""
    text = event.values.get("audio")
    if not isinstance(text, str):
        raise expected("audio", "a string in base64", text)
    if len(text) * 3 // 4 > MAX_APPEND_BYTES:
        raise MessageTooLarge(f"audio: {len(text)} characters exceed the limit of {MAX_APPEND_BYTES} bytes")
    try:
        return await asyncio.to_thread(_decode, text) if len(text) > _SHORT else _decode(text)
    except (binascii.Error, ValueError):
        raise BadParameter("audio", "expected base64") from None


def new_id(kind: str) -> str:
    """Return a name that no other event, item or session has."""
    return f"{kind}_{secrets.token_hex(10)}"


def server_event(kind: str, **values: Any) -> Event:
    """Return an event of the server."""
    return {"type": kind, "event_id": new_id("event"), **values}


def error_event(error: BaseException, event_id: str | None = None) -> Event:
    """Return the event that tells of `error`, which the event `event_id` of the client caused if there is one."""
    cause = error.cause if isinstance(error, BadEvent) else error
    return server_event("error", error={**describe(cause), "event_id": event_id})


def event_text(event: Event) -> str:
    """Return the JSON text of an event. JSON can spell lone surrogates, which UTF-8 cannot: they are replaced."""
    return json.dumps(event, ensure_ascii=False).encode(errors="replace").decode()


def _load(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise BadEvent(BadParameter("event", "expected JSON")) from None
    if not isinstance(values, dict):
        raise BadEvent(expected("event", "an object", values))
    return values


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
