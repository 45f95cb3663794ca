"""Riva's recognition configs as configs of streams; what cannot be served is refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from streamer.audio.encodings import FLAC, OGG_OPUS
from streamer.errors import InvalidRequest
from streamer.gateway.head import AudioHead, Format
from streamer.gateway.languages import served_language
from streamer.gateway.riva import messages as riva
from streamer.session.messages import Config, Decoding, Endpointing, Hotword
from streamer.tasks.decoding import MOST_HYPOTHESES

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

_ENCODINGS = {"LINEAR_PCM": "pcm_s16le", "MULAW": "pcm_mulaw", "ALAW": "pcm_alaw", "FLAC": FLAC, "OGGOPUS": OGG_OPUS}
# These fields ask for what no model here does. Those that ask for less than a model does (`verbatim_transcripts`, word
# times) and for what one channel has anyway are not among them.
_UNSERVED = ("profanity_filter", "enable_automatic_punctuation")


@dataclass(frozen=True, slots=True)
class Request:
    """A checked recognition config. `word_times` puts words into finals."""

    config: Any
    interim_results: bool
    language: str
    mode: str

    @property
    def word_times(self) -> bool:
        """Whether finals hold their words."""
        return bool(self.config.enable_word_time_offsets)

    def head(self) -> AudioHead:
        """Return a reader of the beginning of the audio."""
        declared = _ENCODINGS.get(riva.ENCODINGS[self.config.encoding])
        return AudioHead(declared, self.config.sample_rate_hertz, "sample_rate_hertz")

    def stream_config(self, format: Format) -> Config:
        """Return the config of a stream of audio in `format`."""
        config = self.config
        # A maximum: fewer may come, so that more than a beam can hold is no mistake.
        n_best = max(1, min(config.max_alternatives, MOST_HYPOTHESES))
        hotwords = tuple(_hotwords(config))
        return Config(
            format.encoding,
            format.sample_rate,
            1,
            model=config.model,
            mode=self.mode,
            language=self.language,
            interim_results=self.interim_results,
            endpointing=_endpointing(config),
            decoding=Decoding(beam=max(Decoding().beam, n_best), hotwords=hotwords, n_best=n_best),
        )


def parse(kind: Any, data: bytes) -> Any:
    """Read a message; raises `InvalidRequest` for bytes that are none, and for fields that are not known here."""
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise InvalidRequest(f"expected {kind.DESCRIPTOR.name}, got {len(data)} bytes that are none") from None
    _check_known(message, kind.DESCRIPTOR.name)
    return message


def read_request(config: Any, interim_results: bool, mode: str, models: Iterable[ModelInfo]) -> Request:
    """Check a `RecognitionConfig`; raises `InvalidRequest` naming the field, what was expected and what was there."""
    if config.encoding not in riva.ENCODINGS:
        raise InvalidRequest(f"encoding: expected one of {', '.join(_ENCODINGS)}, got {config.encoding}")
    if config.audio_channel_count not in (0, 1):
        raise InvalidRequest(f"audio_channel_count: expected 1, got {config.audio_channel_count}")
    if config.max_alternatives < 0:
        raise InvalidRequest(f"max_alternatives: expected a number of texts, got {config.max_alternatives}")
    for name in _UNSERVED:
        if getattr(config, name):
            raise InvalidRequest(f"{name}: expected false, no model here does that")
    if config.diarization_config.enable_speaker_diarization:
        raise InvalidRequest("diarization_config.enable_speaker_diarization: expected false, no model here does that")
    for key in config.custom_configuration:
        raise InvalidRequest(f"custom_configuration: expected no keys, got {key!r:.60}")
    _endpointing(config)
    language = served_language(config.language_code, config.model, models)
    return Request(config, interim_results, language, mode)


def _endpointing(config: Any) -> Endpointing:
    """`stop_history` is the silence that ends a segment; the other rules are about shares of frames without tokens."""
    rules = config.endpointing_config
    for field, _ in rules.ListFields():
        if field.name != "stop_history":
            raise InvalidRequest(f"endpointing_config.{field.name}: expected nothing, only stop_history can be set")
    if not rules.HasField("stop_history"):
        return Endpointing()
    if rules.stop_history <= 0:
        raise InvalidRequest(f"endpointing_config.stop_history: expected milliseconds, got {rules.stop_history}")
    return Endpointing(silence_after_speech_s=rules.stop_history / 1000)


def _hotwords(config: Any) -> Iterable[Hotword]:
    """Each phrase once, with the boost of the last context that names it; 0 is the boost of any hotword."""
    boosts = {phrase: context.boost for context in config.speech_contexts for phrase in context.phrases}
    for phrase, boost in boosts.items():
        yield Hotword(phrase, boost or None)


def _check_known(message: Any, where: str) -> None:
    """Raise `InvalidRequest` for a field of a newer version of the protocol, also in the messages inside."""
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]  # a sequence, which the stubs lack
        raise InvalidRequest(f"{where}: expected no field {unknown.field_number}, which this server does not know")
    for field, value in message.ListFields():
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if field.message_type is None or is_map:
            continue
        for each in value if field.is_repeated else (value,):
            _check_known(each, f"{where}.{field.name}")
