"""What Wyoming clients ask for, as configs of streams, and what they are told of the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import streamer
from streamer.errors import InvalidRequest
from streamer.gateway.languages import served_language
from streamer.gateway.wyoming.events import Event
from streamer.session.messages import Config, Decoding, Hotword

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

PROGRAM = "streamer"
ENCODING = "pcm_s16le"
# The protocol ranks names above terms and gives no numbers; terms get the boost of any hotword.
_NAME_BOOST = 2.0
_ATTRIBUTION = {"name": PROGRAM, "url": ""}


@dataclass(frozen=True, slots=True)
class Request:
    """A `transcribe` event: model and language, empty for the defaults, and phrases that are likely to be said."""

    model: str = ""
    language: str = ""
    hotwords: tuple[Hotword, ...] = ()


def read_request(data: Mapping[str, Any]) -> Request:
    """Read a `transcribe` event; raises `InvalidRequest` for what it asks in vain, by name."""
    if data.get("context"):
        raise InvalidRequest("transcribe context: expected none, this server keeps nothing from earlier requests")
    if data.get("vad_sensitivity") not in (None, "default"):
        _refuse("transcribe vad_sensitivity", "default, clients end their audio themselves", data["vad_sensitivity"])
    boosts: dict[str, float | None] = dict.fromkeys(_phrases(data, "transcript_terms"))
    boosts |= dict.fromkeys(_phrases(data, "transcript_names"), _NAME_BOOST)
    hotwords = tuple(Hotword(phrase, boost) for phrase, boost in boosts.items())
    return Request(text_of(data, "name"), text_of(data, "language"), hotwords)


def read_format(data: Mapping[str, Any]) -> int:
    """Return the sample rate (Hz) of an `audio-start` or `audio-chunk`; raises `InvalidRequest` unless 16 bit, mono."""
    if not _is_integer(data.get("rate")):
        _refuse("audio rate", "samples per second", data.get("rate"))
    if data.get("width") != 2:
        _refuse("audio width", "2 bytes per sample", data.get("width"))
    if data.get("channels") != 1:
        _refuse("audio channels", "1", data.get("channels"))
    rate: int = data["rate"]
    return rate


def config_of(request: Request, rate: int, mode: str, models: Iterable[ModelInfo]) -> Config:
    """Return the config of the stream that `request` asks for."""
    return Config(
        ENCODING,
        rate,
        1,
        model=request.model,
        mode=mode,
        language=served_language(request.language, request.model, models),
        decoding=Decoding(hotwords=request.hotwords),
    )


def info(models: Iterable[ModelInfo]) -> Event:
    """Return what `describe` is answered with: one program that serves `models`."""
    program = {
        "name": PROGRAM,
        "description": "Streaming speech recognition",
        "attribution": _ATTRIBUTION,
        "installed": True,
        "version": streamer.__version__,
        "models": _models(models),
        "supports_transcript_streaming": True,
        "requires_external_vad": True,
    }
    return Event("info", {"asr": [program]})


def text_of(data: Mapping[str, Any], key: str) -> str:
    """Return a string of an event, empty if it is not there; raises `InvalidRequest` for anything else."""
    text = data.get(key)
    if text is not None and not isinstance(text, str):
        _refuse(key, "a string", text)
    return text or ""


def _models(models: Iterable[ModelInfo]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for model in models:
        if model.task == "transcribe":
            # The name alone means the first version, so further ones are named in full.
            name = model.key if model.name in found else model.name
            found[name] = {
                "name": name,
                "version": model.version,
                "description": model.description,
                "attribution": _ATTRIBUTION,
                "installed": True,
                "languages": list(model.languages),
            }
    return list(found.values())


def _phrases(data: Mapping[str, Any], key: str) -> list[str]:
    phrases = data.get(key) or []
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        _refuse(f"transcribe {key}", "a list of strings", phrases)
    return phrases


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse(where: str, expected: str, got: Any) -> NoReturn:
    raise InvalidRequest(f"{where}: expected {expected}, got {got!r:.60}")
