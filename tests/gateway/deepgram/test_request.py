"""The parameters of `/v1/listen`, one by one: what they become, and what is refused by its name."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from streamer.errors import InvalidRequest, StreamerError, UnknownBundle
from streamer.gateway.deepgram.request import FileRequest, LiveRequest, read_file, read_live
from streamer.gateway.head import Format
from streamer.session.messages import Config, Decoding, Endpointing, Hotword, Vad
from tests.gateway.deepgram.asking import LINEAR, services
from tests.gateway.fake_host import FakeHost

PCM = Format("pcm_s16le", 16000)


def live(query: str, host: FakeHost | None = None, **settings: object) -> LiveRequest:
    return read_live(parse_qsl(query, keep_blank_values=True), services(host, **settings))


def file(query: str) -> FileRequest:
    return read_file(parse_qsl(query, keep_blank_values=True), services())


def config(query: str) -> Config:
    return live(f"{LINEAR}&{query}").config(PCM, "file")


def test_nothing_need_be_asked_for() -> None:
    """The default model, its own endpoint rules, and finals only, as at Deepgram."""
    assert config("") == Config("pcm_s16le", 16000, 1, model="echo@1", mode="file", interim_results=False)
    assert live("").encoding is None
    plain = file("")
    assert (plain.wanted.model.name, plain.format, plain.multichannel, plain.utterances) == ("echo", None, False, False)


def test_a_stream_is_configured() -> None:
    """Every parameter that is served changes the config that it should."""
    query = "model=echo&language=en-US&interim_results=true&endpointing=700&vad_events=true&alternatives=5"
    expected = Config(
        "pcm_s16le",
        16000,
        1,
        model="echo@1",
        mode="live",
        language="en",
        endpointing=Endpointing(silence_after_speech_s=0.7),
        decoding=Decoding(beam=5, n_best=5),
        vad=Vad(events=True),
    )
    assert live(f"{LINEAR}&{query}").config(PCM, "live") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Endpointing()),
        ("true", Endpointing()),
        ("false", Endpointing(enabled=False)),
        ("10", Endpointing(silence_after_speech_s=0.4)),
        ("400", Endpointing(silence_after_speech_s=0.4)),
        ("401", Endpointing(silence_after_speech_s=0.401)),
    ],
)
def test_endpointing(text: str, expected: Endpointing) -> None:
    """Milliseconds after speech; so few that words would be cut become the least that cuts none."""
    assert config(f"endpointing={text}").endpointing == expected


@pytest.mark.parametrize(
    ("query", "encoding", "rate"),
    [
        ("encoding=linear16&sample_rate=8000", "pcm_s16le", 8000),
        ("encoding=linear32&sample_rate=48000", "pcm_f32le", 48000),
        ("encoding=mulaw&sample_rate=8000", "pcm_mulaw", 8000),
        ("encoding=alaw&sample_rate=8000", "pcm_alaw", 8000),
        ("encoding=flac", "flac", 0),
        ("encoding=flac&sample_rate=44100&channels=2", "flac", 44100),
        ("encoding=ogg-opus&sample_rate=48000", "ogg_opus", 48000),
        ("encoding=ogg-opus", "ogg_opus", 0),
        ("", None, 0),
        ("sample_rate=16000&channels=2", None, 16000),
    ],
)
def test_encodings(query: str, encoding: str | None, rate: int) -> None:
    """Of what has a header the rate may be left out, and everything if the header says what it is."""
    request = live(query)
    assert (request.encoding, request.sample_rate) == (encoding, rate)


def test_phrases_are_hotwords() -> None:
    """Each once; the number behind a keyword multiplies the boost of any hotword."""
    query = "keyterm=harbour+office&keyterm=ferry&keywords=ferry:2&keywords=ab:c:4&keywords=bridge&keyterm="
    hotwords = (Hotword("harbour office"), Hotword("ferry", 3.0), Hotword("ab:c", 6.0), Hotword("bridge"))
    assert config(query).decoding.hotwords == hotwords


def test_the_end_of_utterances_is_heard_by_the_detector() -> None:
    """If there is one; without it the words have to do."""
    query = f"{LINEAR}&interim_results=true&utterance_end_ms=1500"
    request = live(query)
    assert (request.utterance_end_s, request.vad) == (1.5, Vad(events=True, min_silence_s=1.5))
    assert not request.vad_events
    deaf = live(query, FakeHost())
    assert (deaf.utterance_end_s, deaf.vad.events) == (1.5, False)


def test_names_of_models() -> None:
    """Names, versions and the aliases of the settings."""
    aliases = {"nova-3": "echo@1"}
    for model in ("echo", "echo@1", "nova-3"):
        request = live(f"{LINEAR}&model={model}&version=latest", deepgram={"aliases": aliases})
        assert request.wanted.model.name == "echo"
    with pytest.raises(UnknownBundle, match=r"^unknown model 'nova-2', expected one of echo, nova-3$"):
        live("model=nova-2", deepgram={"aliases": aliases})


def test_parameters_of_files() -> None:
    """Channels one by one, utterances, and raw samples that are declared."""
    request = file("multichannel=true&utterances=true&utt_split=0.8&mip_opt_out=true")
    assert (request.multichannel, request.utterances) == (True, True)
    assert request.wanted.endpointing == Endpointing(silence_after_speech_s=0.8)
    assert file("encoding=mulaw&sample_rate=8000").format == Format("pcm_mulaw", 8000)


UNSERVED = [
    "callback",
    "callback_method",
    "custom_intent",
    "custom_intent_mode",
    "custom_topic",
    "custom_topic_mode",
    "detect_entities",
    "detect_language",
    "detect_topics",
    "diarize",
    "diarize_model",
    "diarize_version",
    "dictation",
    "extra",
    "filler_words",
    "intents",
    "language_hint",
    "measurements",
    "ner",
    "numerals",
    "paragraphs",
    "profanity_filter",
    "punctuate",
    "redact",
    "replace",
    "search",
    "sentiment",
    "smart_format",
    "summarize",
    "tag",
    "tier",
    "topics",
    "translate",
]


@pytest.mark.parametrize("name", [*UNSERVED, "multichannel", "utterances", "utt_split"])
def test_what_no_stream_can_have_is_refused(name: str) -> None:
    """By its name, whatever the value, unless that says that it is not wanted."""
    for value in ("true", "x", "1"):
        with pytest.raises(InvalidRequest, match=f"^{name}: is not supported"):
            live(f"{LINEAR}&{name}={value}")
    for value in ("false", "False", ""):
        assert live(f"{LINEAR}&{name}={value}") == live(LINEAR)


@pytest.mark.parametrize("name", [*UNSERVED, "interim_results", "endpointing", "vad_events", "alternatives"])
def test_what_no_file_can_have_is_refused(name: str) -> None:
    """As for streams; they have other parameters."""
    with pytest.raises(InvalidRequest, match=f"^{name}: is not supported"):
        file(f"{name}=true")
    assert file(f"{name}=false") == file("")


LIVE_REFUSALS = {
    "emphasis=true": "'emphasis': is not known, expected one of model, ",
    "emphasis=false": "'emphasis': is not known, expected one of model, ",
    "model=a&model=b": "model: expected one value, got 2",
    "model=large": "unknown model 'large', expected one of echo",
    "version=7": "version: expected latest or 1, got '7'",
    "language=de": "language: model echo speaks en, got 'de'",
    "language=multi": "language: model echo speaks en, got 'multi'",
    "encoding=opus": "encoding: expected one of linear16, linear32, mulaw, alaw, flac, ogg-opus, got 'opus'",
    "encoding=linear16": "sample_rate: expected samples per second with linear16, got ''",
    "encoding=linear16&sample_rate=4000": "sample_rate: expected a whole number from 8000 to 48000, got '4000'",
    "encoding=linear16&sample_rate=1e4": "sample_rate: expected a whole number from 8000 to 48000, got '1e4'",
    "encoding=ogg-opus&sample_rate=16000": "sample_rate: expected 48000 with ogg-opus, got '16000'",
    "encoding=mulaw&sample_rate=8000&channels=2": "channels: expected 1, got '2'",
    "encoding=flac&channels=3": "channels: expected 1 or 2, got '3'",
    "interim_results=yes": "interim_results: expected true or false, got 'yes'",
    "mip_opt_out=1": "mip_opt_out: expected true or false, got '1'",
    "endpointing=0": "endpointing: expected a whole number from 1 to 60000, got '0'",
    "endpointing=-5": "endpointing: expected a whole number from 1 to 60000, got '-5'",
    "utterance_end_ms=1000": "utterance_end_ms: expected interim_results=true with it, got false",
    "utterance_end_ms=99999": "utterance_end_ms: expected a whole number from 1 to 10000, got '99999'",
    "alternatives=17": "alternatives: expected a whole number from 1 to 16, got '17'",
    "keywords=ferry:-2": "keywords: expected an intensifier above 0 and up to 13.3, got 'ferry:-2'",
    "keywords=ferry:99": "keywords: expected an intensifier above 0 and up to 13.3, got 'ferry:99'",
    "keywords=ferry:x": "keywords: expected a number, got 'x'",
    "keyterm=+": "keyterm: decoding hotwords[0]: expected a phrase, got ' '",
    "&".join(["keyterm=a"] * 1001): "keyterm: expected at most 1000 values, got 1001",
}


@pytest.mark.parametrize("query", LIVE_REFUSALS)
def test_values_that_cannot_be_served(query: str) -> None:
    """Each is refused by its name, with what was expected and what was there."""
    with pytest.raises(StreamerError) as caught:
        live(query)
    assert str(caught.value).startswith(LIVE_REFUSALS[query])


def test_speech_cannot_be_told_without_a_detector() -> None:
    """So it is not promised."""
    with pytest.raises(InvalidRequest, match=r"^vad_events: no voice activity detector is served here"):
        live(f"{LINEAR}&vad_events=true", FakeHost())
    assert not live(f"{LINEAR}&vad_events=false", FakeHost()).vad.wanted


def test_nothing_is_recognised_without_a_recogniser() -> None:
    """A server may serve other tasks only."""

    class Deaf(FakeHost):
        def models(self) -> tuple[()]:
            return ()

    with pytest.raises(UnknownBundle, match=r"^no model that transcribes is served here$"):
        live(LINEAR, Deaf())


FILE_REFUSALS = {
    "utt_split=0.8": "utt_split: expected utterances=true with it, got false",
    "utterances=true&utt_split=0": "utt_split: expected seconds up to 60, got '0'",
    "utterances=true&utt_split=nan": "utt_split: expected a number, got 'nan'",
    "sample_rate=16000": "sample_rate: expected nothing without encoding, ",
    "encoding=flac": "encoding: expected nothing, such a file says itself how it is written, got 'flac'",
    f"{LINEAR}&multichannel=true": "multichannel: expected false with encoding, which is of one channel, got 'true'",
    "alternatives=2": "alternatives: is not supported with files",
}


@pytest.mark.parametrize("query", FILE_REFUSALS)
def test_values_that_no_file_can_have(query: str) -> None:
    """As for streams."""
    with pytest.raises(InvalidRequest) as caught:
        file(query)
    assert str(caught.value).startswith(FILE_REFUSALS[query])
