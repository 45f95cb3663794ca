"""What a client asks of one transcription: the form's fields, checked one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.errors import InvalidRequest
from streamer.gateway.openai import models
from streamer.gateway.openai.errors import BadParameter, expected
from streamer.gateway.openai.form import Form
from streamer.gateway.services import Services
from streamer.session.messages import Decoding, Hotword
from streamer.tasks.decoding import check_decoding

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")

# Each with what to do instead, if there is something. Empty values of them say nothing and are let through.
_UNSUPPORTED = {
    "prompt": "is not supported, phrases that are likely to be said go into keywords",
    "languages": "is not supported, give one language",
    "chunking_strategy": "is not supported, files are transcribed as one stream",
    "include": "is not supported, verbose_json has a confidence for each word",
    "known_speaker_names": "is not supported, speakers are not told apart",
    "known_speaker_references": "is not supported, speakers are not told apart",
}
_SINGLE = ("model", "language", "response_format", "stream", "temperature", "channel")
_LISTS = ("timestamp_granularities", "keywords")


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A request that can be served. `channel` counts from 0, None averages all channels of the file."""

    model: ModelInfo
    language: str
    decoding: Decoding
    response_format: str
    granularities: frozenset[str]
    stream: bool
    channel: int | None


def read_request(form: Form, services: Services) -> TranscriptionRequest:
    """Check the fields of `form`; raises `BadParameter` or `UnknownModel` for the first that cannot be served."""
    fields = _Fields(form)
    info = models.resolve(services, fields.required("model"), "model")
    response_format = fields.choice("response_format", FORMATS, "json")
    stream = fields.choice("stream", ("true", "false"), "false") == "true"
    if stream and response_format != "json":
        raise expected("response_format", "json with stream", response_format)
    _check_temperature(fields.single("temperature"))
    return TranscriptionRequest(
        model=info,
        language=models.language_of(fields.single("language"), info, services, "language"),
        decoding=keyword_decoding(tuple(fields.all("keywords")), "keywords"),
        response_format=response_format,
        granularities=_granularities(fields, response_format),
        stream=stream,
        channel=_channel(fields.single("channel")),
    )


def keyword_decoding(phrases: tuple[str, ...], param: str) -> Decoding:
    """Return the search that knows `phrases` as hotwords; raises `BadParameter` for phrases that it does not take."""
    decoding = Decoding(hotwords=tuple(map(Hotword, phrases)))
    try:
        check_decoding(decoding)
    except InvalidRequest as error:
        raise BadParameter(param, str(error)) from None
    return decoding


class _Fields:
    """The values of a form. Clients write the names of lists with brackets behind, or without."""

    def __init__(self, form: Form) -> None:
        self._values: dict[str, list[str]] = {}
        for name, values in form.values.items():
            self._values.setdefault(_plain(name), []).extend(values)
        for name, values in self._values.items():
            self._check(name, values)

    def _check(self, name: str, values: list[str]) -> None:
        if name in _UNSUPPORTED and any(values):
            raise BadParameter(name, _UNSUPPORTED[name])
        if name not in (*_SINGLE, *_LISTS, *_UNSUPPORTED):
            raise BadParameter(name, f"is not known, expected one of file, {', '.join((*_SINGLE, *_LISTS))}")
        if name in _SINGLE and len(values) > 1:
            raise BadParameter(name, f"expected one value, got {len(values)}")

    def single(self, name: str) -> str:
        return self._values.get(name, [""])[0]

    def required(self, name: str) -> str:
        value = self.single(name)
        if not value:
            raise expected(name, "the name of a model", None)
        return value

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.single(name) or default
        if value not in allowed:
            raise expected(name, f"one of {', '.join(allowed)}", value)
        return value

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])


def _plain(name: str) -> str:
    """The name of a parameter whose field may bear the brackets of a list (`[]`) or of an object (`[key]`)."""
    bare, bracket, rest = name.partition("[")
    is_list = bracket and rest == "]" and bare in _LISTS
    return bare if is_list or bare in _UNSUPPORTED else name


def _check_temperature(text: str) -> None:
    try:
        is_zero = not text or float(text) == 0.0
    except ValueError:
        is_zero = False
    if not is_zero:
        raise expected("temperature", "0, the search does not sample", text)


def _granularities(fields: _Fields, response_format: str) -> frozenset[str]:
    asked = fields.all("timestamp_granularities")
    for value in asked:
        if value not in GRANULARITIES:
            raise expected("timestamp_granularities", f"one of {', '.join(GRANULARITIES)}", value)
    if asked and response_format != "verbose_json":
        raise BadParameter("timestamp_granularities", f"needs response_format verbose_json, got {response_format}")
    return frozenset(asked or ("segment",))


def _channel(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 4):
        raise expected("channel", "the number of a channel, counted from 0", text)
    return int(text)
