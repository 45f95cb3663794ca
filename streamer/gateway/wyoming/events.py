"""Events of the Wyoming protocol on the wire.

An event is a line of JSON, `{"type", "data"?, "data_length"?, "payload_length"?}`, then `data_length` bytes of JSON
that is merged over `data`, then `payload_length` bytes. Written here and not taken from the package `wyoming`, whose
reader puts no limit on lengths and takes a line that is not JSON for the end of the connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamer.errors import InvalidRequest, MessageTooLarge
from streamer.gateway.relay import ClientGone

# Also the limit of the stream reader that `read_event` is given.
MAX_HEADER_BYTES = 65536
MAX_DATA_BYTES = 65536
MAX_PAYLOAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what it is, its values, and raw audio if it carries some."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """Return the next event, None when the client has closed between two.

    Raises `InvalidRequest` or `MessageTooLarge` for what cannot be read on, `ClientGone` for an event cut short.
    """
    try:
        return await _read(reader)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise ClientGone from None


def encode(event: Event) -> bytes:
    """Return the bytes of `event`."""
    header: dict[str, Any] = {"type": event.type}
    data = _dump(event.data) if event.data else b""
    if data:
        header["data_length"] = len(data)
    if event.payload:
        header["payload_length"] = len(event.payload)
    return _dump(header) + b"\n" + data + event.payload


async def _read(reader: asyncio.StreamReader) -> Event | None:
    line = await _line(reader)
    if not line:
        return None
    header = _object(line, "header")
    kind, data = header.get("type"), header.get("data")
    if not isinstance(kind, str):
        raise InvalidRequest(f"expected an event type, got {kind!r:.60}")
    if data is not None and not isinstance(data, dict):
        raise InvalidRequest(f"event {kind:.60} data: expected an object, got {type(data).__name__}")
    more = _length(header, "data_length", MAX_DATA_BYTES)
    payload = _length(header, "payload_length", MAX_PAYLOAD_BYTES)
    values = dict(data or {})
    if more:
        values |= _object(await reader.readexactly(more), "data")
    return Event(kind, values, await reader.readexactly(payload))


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise MessageTooLarge(f"event header exceeds the limit of {MAX_HEADER_BYTES} bytes") from None
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"event {what}: expected JSON, got {text[:60]!r}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"event {what}: expected an object, got {type(value).__name__}")
    return value


def _length(header: dict[str, Any], name: str, limit: int) -> int:
    length = header.get(name)
    if length is None:
        return 0
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise InvalidRequest(f"event {name}: expected a number of bytes, got {length!r:.60}")
    if length > limit:
        raise MessageTooLarge(f"event {name} of {length} bytes exceeds the limit of {limit} bytes")
    return length


def _dump(value: Mapping[str, Any]) -> bytes:
    # Escaped, because a client may have us repeat half a surrogate pair, which UTF-8 cannot hold.
    return json.dumps(value).encode()
