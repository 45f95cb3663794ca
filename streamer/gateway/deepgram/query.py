"""The parameters of a request: which there are, and how their values read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from streamer.errors import InvalidRequest

# What every request may ask for. A ticket is a credential of ours, read elsewhere.
COMMON = ("model", "version", "language", "keyterm", "keywords", "encoding", "sample_rate", "mip_opt_out", "ticket")
LIVE = (
    "channels",
    "interim_results",
    "endpointing",
    "utterance_end_ms",
    "vad_events",
    "alternatives",
    "no_delay",
)
PRERECORDED = ("multichannel", "utterances", "utt_split")
# Each with why, if there is more to say than that no model here does it.
_UNSERVED = {
    "callback": "no address is ever called from here",
    "callback_method": "no address is ever called from here",
    "custom_intent": "",
    "custom_intent_mode": "",
    "custom_topic": "",
    "custom_topic_mode": "",
    "detect_entities": "",
    "detect_language": "give one language",
    "detect_topics": "",
    "diarize": "",
    "diarize_model": "",
    "diarize_version": "",
    "dictation": "",
    "extra": "nothing is attached to answers",
    "filler_words": "",
    "intents": "",
    "language_hint": "give one language",
    "measurements": "",
    "ner": "",
    "numerals": "",
    "paragraphs": "",
    "profanity_filter": "",
    "punctuate": "",
    "redact": "",
    "replace": "",
    "search": "",
    "sentiment": "",
    "smart_format": "",
    "summarize": "",
    "tag": "usage is not reported here",
    "tier": "name a model",
    "topics": "",
    "translate": "",
}
# Values that ask for nothing.
_OFF = ("", "false", "none")
_LISTS = ("keyterm", "keywords")
_MOST_VALUES = 1000
_SWITCHES = {"true": True, "false": False}


class Query:
    """The parameters of one request by name, of which `served` may say something.

    Raises `InvalidRequest` naming the first parameter that cannot be served, unless its value asks for nothing.
    """

    def __init__(self, items: Iterable[tuple[str, str]], served: tuple[str, ...], what: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in items:
            if name in served:
                self._values.setdefault(name, []).append(value)
            elif value.lower() not in _OFF or not _is_known(name):
                raise _unserved(name, served, what)
        for name, values in self._values.items():
            most = _MOST_VALUES if name in _LISTS else 1
            if len(values) > most:
                refuse(name, "one value" if most == 1 else f"at most {most} values", len(values))

    def text(self, name: str) -> str:
        """Return the value of a parameter, empty if it is not given."""
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Return the values of a parameter that may be repeated, but for empty ones."""
        return [value for value in self._values.get(name, []) if value]

    def switch(self, name: str) -> bool:
        """Return whether a parameter is on; it is off unless it is given."""
        text = self.text(name).lower() or "false"
        if text not in _SWITCHES:
            refuse(name, "true or false", text)
        return _SWITCHES[text]

    def whole(self, name: str, least: int, most: int) -> int | None:
        """Return the value of a number from `least` to `most`, None if it is not given."""
        text = self.text(name)
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
            refuse(name, f"a whole number from {least} to {most}", text)
        return int(text)


def refuse(name: str, wanted: str, got: object) -> NoReturn:
    """Raise the `InvalidRequest` of a parameter."""
    raise InvalidRequest(f"{name}: expected {wanted}, got {got!r:.60}")


def _is_known(name: str) -> bool:
    return name in (*COMMON, *LIVE, *PRERECORDED) or name in _UNSERVED


def _unserved(name: str, served: tuple[str, ...], what: str) -> InvalidRequest:
    if name in _UNSERVED:
        return InvalidRequest(f"{name}: is not supported, {_UNSERVED[name] or 'no model here does that'}")
    if _is_known(name):
        return InvalidRequest(f"{name}: is not supported with {what}")
    return InvalidRequest(f"{name!r:.60}: is not known, expected one of {', '.join(served)}")
