"""Messages as `streamer.v1` protobufs, the gRPC form.

Fields have the same names on both sides, so one walk over a dataclass serves every message; enums are the only
exception.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, NoReturn

from google.protobuf.message import DecodeError, Message

from streamer.errors import InvalidRequest
from streamer.session import messages
from streamer.session.messages import ClientMessage, ServerMessage
from streamer.v1 import speech_pb2 as pb
from streamer.wire.plain import field_types, required

_CLIENT: dict[str, type] = {"config": messages.Config, "audio": messages.Audio, "text": messages.Text}
_CONTROL: dict[str, type] = {
    "finalize": messages.Finalize,
    "keep_alive": messages.KeepAlive,
    "update": messages.Update,
    "interrupt": messages.Interrupt,
    "cancel": messages.Cancel,
    "end": messages.End,
}
_SERVER: dict[str, type] = {
    "ready": messages.Ready,
    "result": messages.Result,
    "finalized": messages.Finalized,
    "flow": messages.Flow,
    "warning": messages.Warning,
    "done": messages.Done,
    "speech_event": messages.SpeechEvent,
    "packets": messages.Packets,
    "audio_out": messages.AudioOut,
    "spoken": messages.Spoken,
    "interrupted": messages.Interrupted,
}
_NAMES = {kind: name for name, kind in (_CLIENT | _CONTROL | _SERVER).items()}
_ENCODINGS: dict[str, int] = {
    "": 0,
    "pcm_s16le": pb.ENCODING_PCM_S16LE,
    "pcm_f32le": pb.ENCODING_PCM_F32LE,
    "pcm_mulaw": pb.ENCODING_PCM_MULAW,
    "pcm_alaw": pb.ENCODING_PCM_ALAW,
    "flac": pb.ENCODING_FLAC,
    "ogg_opus": pb.ENCODING_OGG_OPUS,
    "snc1": pb.ENCODING_SNC1,
    "text": pb.ENCODING_TEXT,
}
_TO_ENUM: dict[str, dict[str, int]] = {
    "encoding": _ENCODINGS,
    "output": _ENCODINGS,
    "output_encoding": _ENCODINGS,
    "kind": {"speech_start": pb.SPEECH_KIND_START, "speech_end": pb.SPEECH_KIND_END},
    "mode": {"": 0, "live": pb.MODE_LIVE, "file": pb.MODE_FILE},
}
# An encoding that is left out stays empty for the session to refuse; a mode that is left out has a default.
_FROM_ENUM = {name: {number: text for text, number in table.items()} for name, table in _TO_ENUM.items()}
_FROM_ENUM["mode"][0] = "live"


def encode_client(message: ClientMessage) -> pb.ClientMessage:
    """Return the protobuf of a client message."""
    name = _NAMES[type(message)]
    if name in _CLIENT:
        return pb.ClientMessage(**{name: _to_protobuf(message)})
    return pb.ClientMessage(control=pb.Control(**{name: _to_protobuf(message)}))


def decode_client(message: pb.ClientMessage) -> ClientMessage:
    """Translate what a client sent; raises `InvalidRequest`."""
    name = message.WhichOneof("message")
    if name is None:
        raise InvalidRequest("message: expected one of config, audio, text, control, got nothing")
    if name in _CLIENT:
        return typing.cast("ClientMessage", _from_protobuf(_CLIENT[name], getattr(message, name), name))
    control = message.control.WhichOneof("control")
    if control is None:
        raise InvalidRequest(f"control: expected one of {', '.join(_CONTROL)}, got nothing")
    return typing.cast("ClientMessage", _from_protobuf(_CONTROL[control], getattr(message.control, control), control))


def parse_client(data: bytes, task: str = "") -> ClientMessage:
    """Read the bytes of a client message; raises `InvalidRequest`.

    `task` is what a config without one means, empty for the default.
    """
    try:
        message = pb.ClientMessage.FromString(data)
    except DecodeError:
        raise InvalidRequest("message: expected a streamer.v1.ClientMessage, got other bytes") from None
    if task and message.HasField("config") and not message.config.task:
        message.config.task = task
    return decode_client(message)


def encode_server(message: ServerMessage) -> pb.ServerMessage:
    """Return the protobuf of a server message."""
    return pb.ServerMessage(**{_NAMES[type(message)]: _to_protobuf(message)})


def decode_server(message: pb.ServerMessage) -> ServerMessage:
    """Translate what a server sent; raises `InvalidRequest` for a kind of message that is newer than this client."""
    name = message.WhichOneof("message")
    if name is None:
        raise InvalidRequest(f"message: expected one of {', '.join(_SERVER)}, got another kind")
    return typing.cast("ServerMessage", _from_protobuf(_SERVER[name], getattr(message, name), name))


def _to_protobuf(message: Any) -> Any:
    kind = message.__class__
    values = {name: _field_to_protobuf(name, getattr(message, name)) for name in field_types(kind)}
    encoded: type[Message] = getattr(pb, kind.__name__)
    return encoded(**{name: value for name, value in values.items() if value is not None})


def _field_to_protobuf(name: str, value: Any) -> Any:
    if name in _TO_ENUM:
        return _enum_number(name, value)
    if isinstance(value, tuple):
        return [_to_protobuf(item) for item in value]
    return _to_protobuf(value) if dataclasses.is_dataclass(value) else value


def _enum_number(name: str, text: str) -> int:
    if text not in _TO_ENUM[name]:
        _refuse_enum(name, repr(text))
    return _TO_ENUM[name][text]


def _from_protobuf(kind: type, message: Message, where: str) -> Any:
    """Build a `kind`; a field that is absent takes the default of the dataclass."""
    found = {}
    for name, declared in field_types(kind).items():
        if message.DESCRIPTOR.fields_by_name[name].has_presence and not message.HasField(name):
            if name in required(kind):
                found[name] = _absent(declared, f"{where}.{name}")
        else:
            found[name] = _field_from_protobuf(declared, getattr(message, name), f"{where}.{name}", name)
    if kind is messages.Config and not found["task"]:
        del found["task"]
    return kind(**found)


def _absent(declared: Any, where: str) -> None:
    if typing.get_origin(declared) is not types.UnionType:
        raise InvalidRequest(f"{where}: expected a message, got nothing")


def _field_from_protobuf(declared: Any, value: Any, where: str, name: str) -> Any:
    if name in _FROM_ENUM:
        if value not in _FROM_ENUM[name]:
            _refuse_enum(name, str(value))
        return _FROM_ENUM[name][value]
    if typing.get_origin(declared) is tuple:
        return tuple(_from_protobuf(typing.get_args(declared)[0], item, where) for item in value)
    if typing.get_origin(declared) is types.UnionType:
        declared = typing.get_args(declared)[0]
    if dataclasses.is_dataclass(declared):
        return _from_protobuf(typing.cast("type", declared), value, where)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(f"{where}: expected a finite number, got {value}")
    return value


def _refuse_enum(name: str, got: str) -> NoReturn:
    names = ", ".join(text for text in _TO_ENUM[name] if text)
    field = {"output": "codec.output", "output_encoding": "synthesis.output_encoding"}.get(name, name)
    raise InvalidRequest(f"config.{field}: expected one of {names}, got {got}")
