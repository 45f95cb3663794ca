"""What a Realtime transcription session is set to, and the updates that change it, in the GA shape and the beta one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from streamer.gateway.openai.errors import BadParameter, expected

# Format by its name on the wire: encoding and sample rate of the stream behind it.
FORMATS = {
    "audio/pcm": ("pcm_s16le", 24_000),
    "audio/pcmu": ("pcm_mulaw", 8000),
    "audio/pcma": ("pcm_alaw", 8000),
}
BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}

_LONGEST_MS = 10_000
_KEYWORDS = "is not supported, phrases that are likely to be said go into keywords"


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """When a turn begins and ends, by the voice activity detector.

    All audio is heard, so `prefix_padding_ms` cuts nothing off: it only moves the `audio_start_ms` that is told.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """Settings of one session; `model` is what the client calls it. Without `turn_detection` the client commits."""

    model: str
    format: str = "audio/pcm"
    language: str = ""
    keywords: tuple[str, ...] = ()
    turn_detection: TurnDetection | None = None

    @property
    def encoding(self) -> str:
        """Encoding of the stream."""
        return FORMATS[self.format][0]

    @property
    def sample_rate(self) -> int:
        """Sample rate of the stream in Hz."""
        return FORMATS[self.format][1]


def updated(settings: RealtimeSettings, session: Any) -> RealtimeSettings:
    """Return `settings` changed by the `session` of an event `session.update`; what it does not name stays.

    Raises `BadParameter` naming the first key that is not supported.
    """
    where = "session"
    values = _object(session, where, ("type", "audio", "include"))
    if values.get("type") != "transcription":
        raise expected("session.type", "transcription", values.get("type"))
    _nothing(values, where, "include")
    audio = _object(values.get("audio") or {}, "session.audio", ("input",))
    where = "session.audio.input"
    known = ("format", "transcription", "noise_reduction", "turn_detection")
    given = _object(audio.get("input") or {}, where, known)
    _nothing(given, where, "noise_reduction")
    if "format" in given:
        settings = replace(settings, format=_format(given["format"], f"{where}.format"))
    return _common(settings, given, where, "transcription")


def beta_updated(settings: RealtimeSettings, session: Any) -> RealtimeSettings:
    """Return `settings` changed by the `session` of an event `transcription_session.update`; raises `BadParameter`."""
    where = "session"
    formats, transcription = "input_audio_format", "input_audio_transcription"
    unsupported = ("input_audio_noise_reduction", "include", "modalities", "client_secret")
    values = _object(session, where, (formats, transcription, "turn_detection", *unsupported))
    for name in unsupported:
        _nothing(values, where, name)
    if formats in values:
        name = _choice(values[formats], f"{where}.{formats}", tuple(BETA_FORMATS))
        settings = replace(settings, format=BETA_FORMATS[name])
    return _common(settings, values, where, transcription)


def plain(settings: RealtimeSettings, session_id: str) -> dict[str, Any]:
    """Return the session as events of the GA shape show it."""
    form: dict[str, Any] = {"type": settings.format}
    if settings.format == "audio/pcm":
        form["rate"] = settings.sample_rate
    return {
        "id": session_id,
        "object": "realtime.transcription_session",
        "type": "transcription",
        "audio": {
            "input": {
                "format": form,
                "transcription": _plain_transcription(settings),
                "noise_reduction": None,
                "turn_detection": _plain_turns(settings.turn_detection),
            }
        },
        "include": None,
    }


def beta_plain(settings: RealtimeSettings, session_id: str) -> dict[str, Any]:
    """Return the session as events of the beta show it."""
    return {
        "id": session_id,
        "object": "realtime.transcription_session",
        "input_audio_format": next(name for name, form in BETA_FORMATS.items() if form == settings.format),
        "input_audio_transcription": _plain_transcription(settings),
        "input_audio_noise_reduction": None,
        "turn_detection": _plain_turns(settings.turn_detection),
        "include": None,
    }


def _plain_transcription(settings: RealtimeSettings) -> dict[str, Any]:
    keywords = {"keywords": list(settings.keywords)} if settings.keywords else {}
    return {"model": settings.model, "language": settings.language or None, "prompt": "", **keywords}


def _plain_turns(turns: TurnDetection | None) -> dict[str, Any] | None:
    if turns is None:
        return None
    return {
        "type": "server_vad",
        "threshold": turns.threshold,
        "prefix_padding_ms": turns.prefix_padding_ms,
        "silence_duration_ms": turns.silence_duration_ms,
    }


def _common(settings: RealtimeSettings, values: dict[str, Any], where: str, transcription: str) -> RealtimeSettings:
    if transcription in values:
        settings = _transcription(settings, values[transcription], f"{where}.{transcription}")
    if "turn_detection" in values:
        turns = _turns(settings.turn_detection, values["turn_detection"], f"{where}.turn_detection")
        settings = replace(settings, turn_detection=turns)
    return settings


def _format(value: Any, where: str) -> str:
    values = _object(value, where, ("type", "rate"))
    name = _choice(values.get("type", "audio/pcm"), f"{where}.type", tuple(FORMATS))
    rate = values.get("rate")
    if rate is not None and (isinstance(rate, bool) or rate != FORMATS[name][1]):
        raise expected(f"{where}.rate", f"{FORMATS[name][1]} for {name}", rate)
    return name


def _transcription(settings: RealtimeSettings, value: Any, where: str) -> RealtimeSettings:
    values = _object(value, where, ("model", "language", "keywords", "prompt", "languages", "delay"))
    if values.get("prompt"):
        raise BadParameter(f"{where}.prompt", _KEYWORDS)
    for name in ("languages", "delay"):
        _nothing(values, where, name)
    found: dict[str, Any] = {}
    if values.get("model") is not None:
        found["model"] = _text(values["model"], f"{where}.model")
    if "language" in values:
        found["language"] = _text(values["language"] or "", f"{where}.language")
    if "keywords" in values:
        found["keywords"] = _texts(values["keywords"] or [], f"{where}.keywords")
    return replace(settings, **found)


def _turns(now: TurnDetection | None, value: Any, where: str) -> TurnDetection | None:
    if value is None:
        return None
    numbers = ("threshold", "prefix_padding_ms", "silence_duration_ms")
    switches = ("create_response", "interrupt_response", "idle_timeout_ms", "eagerness")
    values = _object(value, where, ("type", *numbers, *switches))
    _choice(values.get("type"), f"{where}.type", ("server_vad",))
    for name in switches:
        _nothing(values, where, name)
    given = {name: values[name] for name in numbers if values.get(name) is not None}
    if "threshold" in given:
        _number(given["threshold"], f"{where}.threshold", 0.05, 0.95)
    for name in numbers[1:]:
        if name in given:
            _number(given[name], f"{where}.{name}", 0, _LONGEST_MS, is_whole=True)
    return replace(now or TurnDetection(), **given)


def _object(value: Any, where: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise expected(where, "an object", value)
    for key in value:
        if key not in known:
            raise BadParameter(f"{where}.{key:.60}", f"is not supported, expected one of {', '.join(known)}")
    return value


def _nothing(values: dict[str, Any], where: str, name: str) -> None:
    """What asks for nothing may be said: null, false, or an empty list."""
    value = values.get(name)
    if value is not None and value is not False and value != []:
        raise BadParameter(f"{where}.{name}", "is not supported, expected null")


def _choice(value: Any, where: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise expected(where, " or ".join(allowed), value)
    return str(value)


def _text(value: Any, where: str) -> str:
    # JSON can spell lone surrogates, which nothing that is sent takes back.
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise expected(where, "a string", value)
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise expected(where, "an array of strings", value)
    return tuple(_text(item, f"{where}[{index}]") for index, item in enumerate(value))


def _number(value: Any, where: str, least: float, most: float, is_whole: bool = False) -> None:
    kinds = int if is_whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        raise expected(where, f"{'an integer' if is_whole else 'a number'} from {least:g} to {most:g}", value)
