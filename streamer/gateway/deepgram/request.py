"""What a client asks of `/v1/listen`: the parameters of its address, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.audio.encodings import COMPRESSED, FLAC, OGG_OPUS
from streamer.audio.opus import RATE as OPUS_RATE
from streamer.audio.pcm import MAX_RATE, MIN_RATE
from streamer.errors import InvalidRequest, UnknownBundle
from streamer.gateway import recognisers
from streamer.gateway.deepgram.query import COMMON, LIVE, PRERECORDED, Query, refuse
from streamer.gateway.head import AudioHead, Format
from streamer.gateway.services import Services
from streamer.session.messages import Config, Decoding, Endpointing, Hotword, Vad
from streamer.tasks.decoding import LARGEST_BOOST, MOST_HYPOTHESES, check_decoding
from streamer.tasks.detection import LONGEST_S

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

Items = Iterable[tuple[str, str]]

_ENCODINGS = {
    "linear16": "pcm_s16le",
    "linear32": "pcm_f32le",
    "mulaw": "pcm_mulaw",
    "alaw": "pcm_alaw",
    "flac": FLAC,
    "ogg-opus": OGG_OPUS,
}
# Below this a recogniser that answers in frames of tens of milliseconds would cut words in two.
SHORTEST_PAUSE_MS = 400
_LONGEST_PAUSE_MS = 60_000
_LONGEST_SPLIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What live streams and files have in common."""

    model: ModelInfo
    language: str
    decoding: Decoding
    endpointing: Endpointing


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """A live stream that can be served. `encoding` is None if the audio has a header, `sample_rate` 0 if not given."""

    wanted: Wanted
    encoding: str | None
    sample_rate: int
    channels: int
    interim_results: bool
    vad_events: bool
    utterance_end_s: float | None
    vad: Vad

    def head(self) -> AudioHead:
        """Return a reader of the beginning of the audio."""
        return AudioHead(self.encoding, self.sample_rate)

    def config(self, format: Format, mode: str) -> Config:
        """Return the config of the stream for audio in `format`."""
        return Config(
            format.encoding,
            format.sample_rate,
            self.channels,
            model=self.wanted.model.key,
            mode=mode,
            language=self.wanted.language,
            interim_results=self.interim_results,
            endpointing=self.wanted.endpointing,
            decoding=self.wanted.decoding,
            vad=self.vad,
        )


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A file that can be served. `format` is None unless it has no header."""

    wanted: Wanted
    format: Format | None
    multichannel: bool
    utterances: bool


def read_live(items: Items, services: Services) -> LiveRequest:
    """Check the parameters of a live stream; raises `InvalidRequest` or `UnknownBundle` for the first that is wrong."""
    query = Query(items, (*COMMON, *LIVE), "live streams")
    query.switch("no_delay")
    interims = query.switch("interim_results")
    alternatives = query.whole("alternatives", 1, MOST_HYPOTHESES) or 1
    utterance_end_s = _utterance_end(query, interims)
    vad_events = query.switch("vad_events")
    has_detector = recognisers.has_detector(services)
    if vad_events and not has_detector:
        raise InvalidRequest("vad_events: no voice activity detector is served here, expected false")
    encoding, sample_rate = _format(query)
    return LiveRequest(
        _wanted(query, services, _endpointing(query), alternatives),
        encoding,
        sample_rate,
        channels=_channels(query, encoding),
        interim_results=interims,
        vad_events=vad_events,
        utterance_end_s=utterance_end_s,
        vad=_vad(vad_events or (utterance_end_s is not None and has_detector), utterance_end_s),
    )


def read_file(items: Items, services: Services) -> FileRequest:
    """Check the parameters of a file; raises `InvalidRequest` or `UnknownBundle` for the first that is wrong."""
    query = Query(items, (*COMMON, *PRERECORDED), "files")
    utterances = query.switch("utterances")
    rules = _split(query, utterances)
    multichannel = query.switch("multichannel")
    return FileRequest(_wanted(query, services, rules), _raw_format(query, multichannel), multichannel, utterances)


def _wanted(query: Query, services: Services, endpointing: Endpointing, alternatives: int = 1) -> Wanted:
    # Nothing that is heard here is kept or learnt from, whether a client opts out of that or not.
    query.switch("mip_opt_out")
    model = _model(query, services)
    try:
        language = recognisers.language_of(query.text("language"), model, services)
    except InvalidRequest as error:
        raise InvalidRequest(f"language: {error}") from None
    return Wanted(model, language, _decoding(query, alternatives), endpointing)


def _model(query: Query, services: Services) -> ModelInfo:
    served = recognisers.transcribers(services)
    if not served:
        raise UnknownBundle("no model that transcribes is served here")
    name = query.text("model")
    model = recognisers.find(name, services.settings.deepgram.aliases, served) if name else served[0]
    if query.text("version") not in ("", "latest", model.version):
        refuse("version", f"latest or {model.version}", query.text("version"))
    return model


def _format(query: Query) -> tuple[str | None, int]:
    rate = query.whole("sample_rate", MIN_RATE, MAX_RATE)
    name = query.text("encoding")
    if not name:
        return None, rate or 0
    if name not in _ENCODINGS:
        refuse("encoding", f"one of {', '.join(_ENCODINGS)}", name)
    if name == "ogg-opus" and rate not in (None, OPUS_RATE):
        refuse("sample_rate", f"{OPUS_RATE} with {name}", str(rate))
    if rate is None and _ENCODINGS[name] not in COMPRESSED:
        refuse("sample_rate", f"samples per second with {name}", "")
    return _ENCODINGS[name], rate or 0


def _raw_format(query: Query, multichannel: bool) -> Format | None:
    """Return the format of a file that has no header; those that have one need no parameters."""
    encoding, rate = _format(query)
    if encoding is None:
        if rate:
            refuse("sample_rate", "nothing without encoding, files with a header say it themselves", str(rate))
        return None
    if encoding in COMPRESSED:
        refuse("encoding", "nothing, such a file says itself how it is written", query.text("encoding"))
    if multichannel:
        refuse("multichannel", "false with encoding, which is of one channel", "true")
    return Format(encoding, rate)


def _channels(query: Query, encoding: str | None) -> int:
    most = 2 if encoding is None or encoding in COMPRESSED else 1
    channels = query.whole("channels", 1, 99) or 1
    if channels > most:
        refuse("channels", "1" if most == 1 else "1 or 2", str(channels))
    return channels


def _endpointing(query: Query) -> Endpointing:
    """The pause after speech that ends a segment; its other rules stay."""
    text = query.text("endpointing").lower()
    if text in ("", "true"):
        return Endpointing()
    if text == "false":
        return Endpointing(enabled=False)
    pause_ms = query.whole("endpointing", 1, _LONGEST_PAUSE_MS) or 0
    return Endpointing(silence_after_speech_s=max(pause_ms, SHORTEST_PAUSE_MS) / 1000)


def _utterance_end(query: Query, interims: bool) -> float | None:
    longest_ms = round(1000 * LONGEST_S)
    milliseconds = query.whole("utterance_end_ms", 1, longest_ms)
    if milliseconds is None:
        return None
    if not interims:
        raise InvalidRequest("utterance_end_ms: expected interim_results=true with it, got false")
    return milliseconds / 1000


def _vad(events: bool, silence_s: float | None) -> Vad:
    return Vad(events=events) if silence_s is None else Vad(events=events, min_silence_s=silence_s)


def _split(query: Query, utterances: bool) -> Endpointing:
    text = query.text("utt_split")
    if not text:
        return Endpointing()
    if not utterances:
        raise InvalidRequest("utt_split: expected utterances=true with it, got false")
    seconds = _number("utt_split", text)
    if not 0 < seconds <= _LONGEST_SPLIT_S:
        refuse("utt_split", f"seconds up to {_LONGEST_SPLIT_S:g}", text)
    return Endpointing(silence_after_speech_s=max(seconds, SHORTEST_PAUSE_MS / 1000))


def _decoding(query: Query, alternatives: int) -> Decoding:
    # A beam must have room for the alternatives.
    beam = max(Decoding().beam, alternatives)
    decoding = Decoding(beam=beam, hotwords=tuple(_hotwords(query)), n_best=alternatives)
    try:
        check_decoding(decoding)
    except InvalidRequest as error:
        raise InvalidRequest(f"keyterm: {error}") from None
    return decoding


def _hotwords(query: Query) -> Iterable[Hotword]:
    """Each phrase once. The number behind a keyword multiplies the boost that hotwords have anyway."""
    boosts: dict[str, float | None] = dict.fromkeys(query.all("keyterm"))
    for keyword in query.all("keywords"):
        phrase, colon, factor = keyword.rpartition(":")
        boosts[phrase if colon else keyword] = _boost(keyword, factor) if colon else None
    for phrase, boost in boosts.items():
        yield Hotword(phrase, boost)


def _boost(keyword: str, factor: str) -> float:
    boost = Decoding().hotword_boost * _number("keywords", factor)
    if not 0 < boost <= LARGEST_BOOST:
        most = LARGEST_BOOST / Decoding().hotword_boost
        refuse("keywords", f"an intensifier above 0 and up to {most:.1f}", keyword)
    return boost


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        refuse(name, "a number", text)
    return number
