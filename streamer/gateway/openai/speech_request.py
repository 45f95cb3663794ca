"""What a client asks to have spoken: the members of a JSON object, checked one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamer.audio.encoders import FORMATS
from streamer.errors import InvalidRequest
from streamer.gateway.openai import models
from streamer.gateway.openai.errors import BadParameter, expected
from streamer.gateway.services import Services
from streamer.tasks.synthesis_options import (
    FASTEST,
    MOST_TEMPERATURE,
    SLOWEST,
    SynthesisOptions,
    check_synthesis,
    check_text,
)

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

# Voices of OpenAI's. A client cannot do without one of the names, so they stand for the model's first voice.
VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
STREAM_FORMATS = ("audio", "sse")
_KNOWN = ("model", "input", "voice", "response_format", "stream_format", "speed", "seed", "temperature")
_INSTRUCTIONS = "instructions"


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A request that can be served."""

    model: ModelInfo
    text: str
    options: SynthesisOptions
    response_format: str
    is_event_stream: bool


def read_speech_request(body: bytes, services: Services) -> SpeechRequest:
    """Check `body`; raises `InvalidRequest` for what is no JSON object, and for the first member that is not served."""
    members = _members(body)
    text = _text(members, services.settings.openai.max_input_chars)
    return SpeechRequest(
        model=models.resolve_voice(services, _string(members, "model", "the name of a model"), "model"),
        text=text,
        options=_options(members),
        response_format=_choice(members, "response_format", FORMATS),
        is_event_stream=_choice(members, "stream_format", STREAM_FORMATS) == "sse",
    )


def most_bytes(max_chars: int) -> int:
    """Return how long a body with so many characters of text may be, each written as two escapes."""
    return 12 * max_chars + 16_384


def _members(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        # No JSON, or bytes that are no UTF-8.
        raise InvalidRequest("expected a body of JSON, got something else") from None
    if not isinstance(members, dict):
        raise InvalidRequest("expected an object of JSON, got another value")
    members = {name: value for name, value in members.items() if value is not None}
    if members.pop(_INSTRUCTIONS, ""):
        raise BadParameter(_INSTRUCTIONS, "is not supported, there is no model here that reads it")
    for name in members:
        if name not in _KNOWN:
            raise BadParameter(f"{name:.60}", f"is not known, expected one of {', '.join(_KNOWN)}")
    return members


def _string(members: dict[str, Any], name: str, wanted: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise expected(name, wanted, value or None)
    return value


def _choice(members: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = members.get(name, allowed[0])
    if value not in allowed:
        raise expected(name, f"one of {', '.join(allowed)}", value)
    return str(value)


def _text(members: dict[str, Any], max_chars: int) -> str:
    text = _string(members, "input", "text to speak")
    if not text.strip():
        raise BadParameter("input", "expected text to speak, got white space only")
    if len(text) > max_chars:
        message = f"expected at most {max_chars} characters, got {len(text)}"
        raise BadParameter("input", message, "string_above_max_length")
    try:
        check_text(text)
    except InvalidRequest as error:
        raise BadParameter("input", str(error).removeprefix("text: ")) from None
    return text


def _options(members: dict[str, Any]) -> SynthesisOptions:
    speed = _number(members, "speed", SLOWEST, FASTEST)
    options = SynthesisOptions(
        voice=_voice(members),
        speed=1.0 if speed is None else speed,
        seed=members.get("seed", 0),
        temperature=_number(members, "temperature", 0.0, MOST_TEMPERATURE),
    )
    try:
        check_synthesis(options)
    except InvalidRequest as error:
        # What is left to be wrong is the seed.
        raise BadParameter("seed", str(error).removeprefix("synthesis seed: ")) from None
    return options


def _voice(members: dict[str, Any]) -> str:
    """A name, or an object that holds it as `id`; empty for the model's first voice."""
    voice = members.get("voice")
    if isinstance(voice, dict) and set(voice) == {"id"}:
        voice = voice["id"]
    if not isinstance(voice, str) or not voice:
        raise expected("voice", "the name of a voice", voice or None)
    return "" if voice in VOICES else voice


def _number(members: dict[str, Any], name: str, least: float, most: float) -> float | None:
    value = members.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and least <= value <= most):
        raise expected(name, f"a number from {least:g} to {most:g}", value)
    return float(value)
