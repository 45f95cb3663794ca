"""The members of a request for speech, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.access import Access
from streamer.gateway.openai.errors import UnknownModel, describe
from streamer.gateway.openai.models import check_aliases
from streamer.gateway.openai.speech_request import VOICES, SpeechRequest, most_bytes, read_speech_request
from streamer.gateway.readiness import Readiness
from streamer.gateway.services import Services
from streamer.tasks.synthesis_options import SynthesisOptions
from tests.gateway.fake_host import FakeHost
from tests.gateway.fake_voice import FakeVoiceHost
from tests.gateway.openai import test_request

PLAIN = {"model": "voice", "input": "Hello.", "voice": "alloy"}


def services(**settings: Any) -> Services:
    host = FakeVoiceHost()
    plain = test_request.services(**settings)
    return Services(host, plain.settings, Access(), Readiness(host))  # type: ignore[arg-type]


def read(members: dict[str, Any], **settings: Any) -> SpeechRequest:
    return read_speech_request(json.dumps({**PLAIN, **members}).encode(), services(**settings))


def test_what_openai_does_without_more() -> None:
    """An MP3 file, at the usual speed, in the first voice."""
    request = read({})
    assert (request.model.key, request.text, request.response_format) == ("voice@1", "Hello.", "mp3")
    assert (request.options, request.is_event_stream) == (SynthesisOptions(), False)


def test_everything_that_can_be_asked() -> None:
    """Each member becomes an option of the stream."""
    request = read(
        {
            "model": "tenor@2",
            "voice": {"id": "bass"},
            "response_format": "opus",
            "stream_format": "sse",
            "speed": 2,
            "seed": 7,
            "temperature": 0.5,
            "instructions": "",
        }
    )
    assert (request.model.key, request.response_format, request.is_event_stream) == ("tenor@2", "opus", True)
    assert request.options == SynthesisOptions("bass", 2.0, seed=7, temperature=0.5)


def test_null_says_nothing() -> None:
    """Clients write it for what they do not want."""
    empty = dict.fromkeys(("instructions", "response_format", "stream_format", "speed", "seed", "temperature"))
    assert read(empty) == read({})


@pytest.mark.parametrize("name", ["tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"])
def test_openai_models_are_the_default_voice(name: str) -> None:
    """Unless the settings say what stands for them."""
    assert read({"model": name}).model.name == "voice"
    assert read({"model": name}, openai={"aliases": {name: "tenor"}}).model.name == "tenor"


def test_openai_voices_are_the_first_of_the_model() -> None:
    """Any other name is the model's to know."""
    assert {read({"voice": name}).options.voice for name in VOICES} == {""}
    assert read({"voice": "kathleen"}).options.voice == "kathleen"


def test_an_alias_may_stand_for_a_voice() -> None:
    """Or for a recogniser, and then it speaks nothing."""
    check_aliases(services(openai={"aliases": {"sing": "tenor", "whisper-1": "echo"}}))
    assert read({"model": "sing"}, openai={"aliases": {"sing": "tenor"}}).model.name == "tenor"
    with pytest.raises(UnknownModel, match=r"^unknown model 'whisper-1', expected one of voice, tenor, whisper-1$"):
        read({"model": "whisper-1"}, openai={"aliases": {"whisper-1": "echo"}})


def test_a_server_without_voices() -> None:
    """It says so, whatever the name."""
    plain = test_request.services()
    assert isinstance(plain.host, FakeHost)
    with pytest.raises(UnknownModel, match=r"^expected a server with a model of the task synthesize, got one without$"):
        read_speech_request(json.dumps(PLAIN).encode(), plain)


@pytest.mark.parametrize(
    ("members", "param", "message"),
    [
        ({"model": None}, "model", "expected the name of a model, got nothing"),
        ({"model": 5}, "model", "expected the name of a model, got 5"),
        ({"input": ""}, "input", "expected text to speak, got nothing"),
        ({"input": ["a"]}, "input", "expected text to speak, got an array"),
        ({"input": " \n\t"}, "input", "expected text to speak, got white space only"),
        ({"input": "a\x00"}, "input", "expected no control characters, got U+0000 at character 1"),
        ({"input": "\ud800"}, "input", "expected no lone surrogates, got U+D800 at character 0"),
        ({"input": "a" * 4097}, "input", "expected at most 4096 characters, got 4097"),
        ({"voice": None}, "voice", "expected the name of a voice, got nothing"),
        ({"voice": {"name": "a"}}, "voice", "expected the name of a voice, got an object"),
        ({"voice": {"id": ""}}, "voice", "expected the name of a voice, got nothing"),
        ({"response_format": "ogg"}, "response_format", "expected one of mp3, opus, aac, flac, wav, pcm, got 'ogg'"),
        ({"response_format": []}, "response_format", "expected one of mp3, opus, aac, flac, wav, pcm, got an array"),
        ({"stream_format": "ws"}, "stream_format", "expected one of audio, sse, got 'ws'"),
        ({"speed": 0.25}, "speed", "expected a number from 0.5 to 2, got 0.25"),
        ({"speed": 4.0}, "speed", "expected a number from 0.5 to 2, got 4.0"),
        ({"speed": True}, "speed", "expected a number from 0.5 to 2, got True"),
        ({"speed": "fast"}, "speed", "expected a number from 0.5 to 2, got 'fast'"),
        ({"speed": float("nan")}, "speed", "expected a number from 0.5 to 2, got nan"),
        ({"temperature": 2.5}, "temperature", "expected a number from 0 to 2, got 2.5"),
        ({"seed": -1}, "seed", "expected an integer from 0 to 9223372036854775807, got -1"),
        ({"seed": 1.5}, "seed", "expected an integer from 0 to 9223372036854775807, got 1.5"),
        ({"instructions": "whisper"}, "instructions", "is not supported, there is no model here that reads it"),
        (
            {"stream": True},
            "stream",
            "is not known, expected one of "
            "model, input, voice, response_format, stream_format, speed, seed, temperature",
        ),
    ],
)
def test_refusals_name_the_parameter(members: dict[str, Any], param: str, message: str) -> None:
    """What is wrong, what was expected, and what there was."""
    with pytest.raises(StreamerError) as caught:
        read(members)
    described = describe(caught.value)
    assert (described["param"], described["message"]) == (param, f"{param}: {message}")
    code = "string_above_max_length" if "4096" in message else "invalid_request"
    assert described["code"] == code


def test_the_limit_of_characters_is_a_setting() -> None:
    """A body holds as many of them, however they are written."""
    text = "\N{GRINNING FACE}" * 5000
    assert read({"input": text}, openai={"max_input_chars": 5000}).text == text
    assert len(json.dumps({**PLAIN, "input": text})) < most_bytes(5000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected a body of JSON, got something else"),
        (b"model=voice", "expected a body of JSON, got something else"),
        (b'{"model": "\xff"}', "expected a body of JSON, got something else"),
        (b"[" * 100_000, "expected a body of JSON, got something else"),
        (b"[]", "expected an object of JSON, got another value"),
    ],
)
def test_other_bodies_are_refused(body: bytes, message: str) -> None:
    """They have no parameter that could be named."""
    with pytest.raises(InvalidRequest, match=f"^{message}$"):
        read_speech_request(body, services())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = (*PLAIN, "response_format", "stream_format", "speed", "seed", "temperature", "instructions", "stream")


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4))
def test_any_value_is_served_or_refused(members: dict[str, Any]) -> None:
    """Never anything else, whatever is in the place of what was expected."""
    try:
        request = read(members)
    except StreamerError as error:
        refused = describe(error)
    else:
        refused = None
        assert request.text.strip()
        assert 0.5 <= request.options.speed <= 2
    assert refused is None or len(refused["message"]) < 400
