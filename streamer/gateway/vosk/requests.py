"""Text frames of vosk clients: `{"config": {...}}`, `{"reset": 1}` and `{"eof": 1}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from streamer.errors import InvalidRequest
from streamer.session.messages import Config, Decoding, Hotword
from streamer.tasks.decoding import MOST_HYPOTHESES

ENCODING = "pcm_s16le"
_MAX_TEXT_CHARACTERS = 65536
# What stands in a list of phrases for all words that are not in it: they may be said here anyway.
_UNKNOWN_WORD = "[unk]"


@dataclass(frozen=True, slots=True)
class Reset:
    """Finish the words of all audio so far; the connection goes on."""


@dataclass(frozen=True, slots=True)
class Eof:
    """No more audio."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What configs have said so far. `words` and `max_alternatives` default to what vosk-server defaults to."""

    sample_rate: int | None = None
    hotwords: tuple[Hotword, ...] = ()
    words: bool = True
    max_alternatives: int = 0
    model: str = ""

    def config(self, default_rate: int | None, mode: str) -> Config:
        """Return the config of the stream; raises `InvalidRequest` if nobody has declared the sample rate."""
        rate = self.sample_rate or default_rate
        if rate is None:
            raise InvalidRequest(
                'expected {"config": {"sample_rate": ...}} before audio, the server has no vosk_sample_rate'
            )
        # A maximum: fewer may come, so that more than a beam can hold is no mistake.
        n_best = max(1, min(self.max_alternatives, MOST_HYPOTHESES))
        decoding = Decoding(beam=max(Decoding().beam, n_best), hotwords=self.hotwords, n_best=n_best)
        return Config(ENCODING, rate, 1, model=self.model, mode=mode, decoding=decoding)


@dataclass(frozen=True, slots=True)
class Change:
    """A config message: new values of `Settings`, the others stay."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, settings: Settings) -> Settings:
        """Return `settings` with the new values."""
        return replace(settings, **self.values)


def read_text(text: str) -> Change | Reset | Eof:
    """Read a text frame; raises `InvalidRequest` naming the key, what was expected and what was there."""
    if len(text) > _MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"message: expected at most {_MAX_TEXT_CHARACTERS} characters, got {len(text)}")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"message: expected JSON, got {text[:60]!r}") from None
    if not isinstance(message, dict) or len(message) != 1:
        _refuse("message", "an object with one key, config, reset or eof", message)
    ((key, value),) = message.items()
    if key == "config":
        return Change(_config(value))
    if key not in ("reset", "eof"):
        _refuse("message", "config, reset or eof", key)
    if value not in (1, "1"):
        _refuse(key, "1", value)
    return Reset() if key == "reset" else Eof()


def _config(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        _refuse("config", "an object", values)
    changes: dict[str, Any] = {}
    for key, value in values.items():
        match key:
            case "sample_rate":
                changes["sample_rate"] = _rate(value)
            case "phrase_list":
                changes["hotwords"] = _hotwords(value)
            case "words":
                changes["words"] = _flag(value)
            case "max_alternatives":
                changes["max_alternatives"] = _count(value)
            case "model":
                changes["model"] = _name(value)
            case _:
                _refuse("config", "sample_rate, phrase_list, words, max_alternatives or model", key)
    return changes


def _rate(value: Any) -> int:
    # Jigasi sends 48000.0. What rates there are is the session's to say.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value <= 0:
        _refuse("config sample_rate", "samples per second", value)
    return int(value)


def _hotwords(value: Any) -> tuple[Hotword, ...]:
    if not isinstance(value, list) or not all(isinstance(phrase, str) for phrase in value):
        _refuse("config phrase_list", "a list of strings", value)
    phrases = (" ".join(word for word in phrase.split() if word != _UNKNOWN_WORD) for phrase in value)
    return tuple(Hotword(phrase) for phrase in dict.fromkeys(phrases) if phrase)


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        _refuse("config words", "true or false", value)
    return bool(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse("config max_alternatives", "a number of texts", value)
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str):
        _refuse("config model", "a string", value)
    return value


def _refuse(where: str, expected: str, got: Any) -> NoReturn:
    raise InvalidRequest(f"{where}: expected {expected}, got {got!r:.60}")
