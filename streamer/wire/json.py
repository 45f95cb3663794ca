"""Messages as JSON text, the WebSocket form; audio and packets travel beside it in raw binary frames.

A message is one object: `{"type": "finalize", "id": "a"}`. Client messages are read strictly; of server messages a
client skips keys that it does not know, so that servers may add some. Server messages carry derived `*_ms` keys beside
their samples.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from streamer.errors import InvalidRequest, StreamerError
from streamer.session import messages
from streamer.session.messages import ClientMessage, ServerMessage
from streamer.wire.failure import Failure
from streamer.wire.plain import from_plain, refuse, to_plain

MAX_TEXT_CHARACTERS = 65536


def _by_name(*kinds: type) -> dict[str, type]:
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in kinds}


_CLIENT = _by_name(
    messages.Config,
    messages.Text,
    messages.Finalize,
    messages.KeepAlive,
    messages.Update,
    messages.Interrupt,
    messages.Cancel,
    messages.End,
)
_SERVER = _by_name(
    messages.Ready,
    messages.Result,
    messages.SpeechEvent,
    messages.Finalized,
    messages.Flow,
    messages.Spoken,
    messages.Interrupted,
    messages.Warning,
    messages.Done,
)
_BINARY = messages.Packets | messages.AudioOut
_NAMES = {kind: name for name, kind in (_CLIENT | _SERVER).items()}
_ERROR = "error"


def encode_client(message: ClientMessage) -> str | bytes:
    """Return the frame of a client message: bytes for audio, else JSON text."""
    if isinstance(message, messages.Audio):
        if message.first_sample is not None:
            raise InvalidRequest("audio.first_sample: expected nothing over websocket, use grpc to number audio")
        return message.data
    return _dump({"type": _NAMES[type(message)], **to_plain(message)})


def decode_client(frame: str | bytes) -> ClientMessage:
    """Read a frame of a client; raises `InvalidRequest` naming the key, what was expected and what was there."""
    if isinstance(frame, bytes):
        return messages.Audio(frame)
    name, values = _load(frame)
    if name not in _CLIENT:
        refuse("type", f"one of {', '.join(_CLIENT)}", name)
    message: ClientMessage = from_plain(_CLIENT[name], values, name)
    return message


def encode_server(message: ServerMessage, wire_rate: int) -> str | bytes:
    """Return the frame of a server message: bytes for packets and decoded audio, whose positions follow by counting.

    Else JSON text, in which `wire_rate` (samples per second) gives the derived milliseconds.
    """
    if isinstance(message, _BINARY):
        return message.data
    # What is absent is left out: `Flow` is sent every second.
    plain = {key: value for key, value in to_plain(message).items() if value is not None}
    _add_milliseconds(plain, wire_rate)
    for word in plain.get("words", ()):
        _add_milliseconds(word, wire_rate)
    return _dump({"type": _NAMES[type(message)], **plain})


def encode_error(failure: Failure) -> str:
    """Return the JSON text that precedes the close frame of a stream that failed."""
    plain: dict[str, Any] = {"type": _ERROR, "code": failure.code.name, "message": failure.message}
    if failure.retry_after_ms is not None:
        plain["retry_after_ms"] = failure.retry_after_ms
    return _dump(plain)


def decode_server(text: str) -> ServerMessage | StreamerError:
    """Read a text frame of a server; an error frame gives the exception to raise."""
    name, values = _load(text, limit=None)
    if name == _ERROR:
        return Failure.named(values.get("code"), values.get("message"), values.get("retry_after_ms")).to_error()
    if name not in _SERVER:
        refuse("type", f"one of {', '.join(_SERVER)}", name)
    message: ServerMessage = from_plain(_SERVER[name], values, name, strict=False)
    return message


def _add_milliseconds(plain: dict[str, Any], wire_rate: int) -> None:
    for key in [key for key in plain if key.endswith(("sample", "_samples"))]:
        derived = "ms" if key == "sample" else key.rpartition("_")[0] + "_ms"
        plain[derived] = round(1000 * plain[key] / wire_rate, 3)


def _dump(plain: dict[str, Any]) -> str:
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _load(text: str, limit: int | None = MAX_TEXT_CHARACTERS) -> tuple[str, dict[str, Any]]:
    """Return the type of a message and its other keys."""
    if limit is not None and len(text) > limit:
        raise InvalidRequest(f"message: expected at most {limit} characters, got {len(text)}")
    try:
        values = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"message: expected JSON, got {error.msg.lower()} at character {error.pos}") from None
    except RecursionError:
        raise InvalidRequest("message: expected at most three levels of objects, got far more") from None
    except ValueError:
        # Python refuses to read integers of thousands of digits.
        raise InvalidRequest("message: expected numbers of at most 64 bits, got more digits") from None
    if not isinstance(values, dict):
        refuse("message", "an object", values)
    name = values.pop("type", None)
    if not isinstance(name, str):
        refuse("type", "a string", name)
    return name, values


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidRequest(f"message: expected finite numbers, got {text}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        refuse("message", "each key once", twice)
    return found
