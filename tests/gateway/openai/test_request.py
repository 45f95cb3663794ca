"""The fields of a transcription's form, one by one."""

from __future__ import annotations

import io
from typing import Any

import pytest

from streamer.config import Settings
from streamer.errors import StreamerError
from streamer.gateway.access import Access
from streamer.gateway.openai.errors import BadParameter, UnknownModel
from streamer.gateway.openai.form import Form
from streamer.gateway.openai.request import TranscriptionRequest, read_request
from streamer.gateway.readiness import Readiness
from streamer.gateway.services import Services
from streamer.session.messages import Hotword
from tests.gateway.fake_host import FakeHost


def services(**settings: Any) -> Services:
    host = FakeHost()
    return Services(host, Settings(**settings), Access(), Readiness(host))  # type: ignore[arg-type]


def read(values: dict[str, list[str]], **settings: Any) -> TranscriptionRequest:
    return read_request(Form(io.BytesIO(), "a.wav", {"model": ["echo"], **values}), services(**settings))


def refusal(values: dict[str, list[str]]) -> StreamerError:
    with pytest.raises(StreamerError) as caught:
        read(values)
    return caught.value


def test_a_model_is_all_that_is_needed() -> None:
    """The rest is what OpenAI does without it: json, segments, no stream."""
    request = read({})
    assert (request.model.name, request.language, request.response_format) == ("echo", "", "json")
    assert (request.granularities, request.stream, request.channel) == ({"segment"}, False, None)
    assert not request.decoding.is_beam


@pytest.mark.parametrize("name", ["keywords", "keywords[]"])
def test_keywords_are_hotwords(name: str) -> None:
    """With brackets, as the Python client writes lists, and without."""
    assert read({name: ["harbour", "ferry"]}).decoding.hotwords == (Hotword("harbour"), Hotword("ferry"))


def test_what_says_nothing_is_let_through() -> None:
    """Clients send empty texts for what they do not want."""
    request = read({"prompt": [""], "language": [""], "temperature": ["0.0"], "stream": ["false"], "include[]": [""]})
    assert request == read({})


def test_regional_languages_are_found() -> None:
    """A model that speaks English speaks that of a region."""
    assert read({"language": ["en-GB"]}).language == "en"


def test_aliases_stand_for_models() -> None:
    """Names of OpenAI's models work once the settings say what stands for them."""
    assert read({"model": ["whisper-1"]}, openai={"aliases": {"whisper-1": "echo"}}).model.name == "echo"
    with pytest.raises(UnknownModel, match="^unknown model 'whisper-1', expected one of echo$"):
        read({"model": ["whisper-1"]})


@pytest.mark.parametrize(
    ("values", "param", "message"),
    [
        ({"model": [""]}, "model", "expected the name of a model, got nothing"),
        ({"model": ["echo", "echo"]}, "model", "expected one value, got 2"),
        ({"prompt": ["Hi."]}, "prompt", "is not supported, phrases that are likely to be said go into keywords"),
        ({"languages[]": ["en", "de"]}, "languages", "is not supported, give one language"),
        ({"language": ["de"]}, "language", "model echo speaks en, got 'de'"),
        ({"temperature": ["0.2"]}, "temperature", "expected 0, the search does not sample, got '0.2'"),
        ({"temperature": ["warm"]}, "temperature", "expected 0, the search does not sample, got 'warm'"),
        (
            {"response_format": ["diarized_json"]},
            "response_format",
            "expected one of json, text, srt, verbose_json, vtt, got 'diarized_json'",
        ),
        ({"stream": ["true"], "response_format": ["srt"]}, "response_format", "expected json with stream, got 'srt'"),
        ({"stream": ["yes"]}, "stream", "expected one of true, false, got 'yes'"),
        (
            {"timestamp_granularities[]": ["word"]},
            "timestamp_granularities",
            "needs response_format verbose_json, got json",
        ),
        (
            {"timestamp_granularities[]": ["letter"], "response_format": ["verbose_json"]},
            "timestamp_granularities",
            "expected one of segment, word, got 'letter'",
        ),
        (
            {"chunking_strategy": ["auto"]},
            "chunking_strategy",
            "is not supported, files are transcribed as one stream",
        ),
        ({"include[]": ["logprobs"]}, "include", "is not supported, verbose_json has a confidence for each word"),
        (
            {"known_speaker_names[]": ["Ada"]},
            "known_speaker_names",
            "is not supported, speakers are not told apart",
        ),
        ({"keywords[]": [""]}, "keywords", "decoding hotwords[0]: expected a phrase, got ''"),
        ({"channel": ["-1"]}, "channel", "expected the number of a channel, counted from 0, got '-1'"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(values: dict[str, list[str]], param: str, message: str) -> None:
    """The error names the parameter, what was expected and what was there."""
    error = refusal(values)
    assert isinstance(error, BadParameter)
    assert (error.param, str(error)) == (param, f"{param}: {message}")


def test_unknown_fields_are_refused() -> None:
    """A field that nobody knows may have been meant to matter."""
    error = refusal({"vad_filter": ["true"]})
    assert isinstance(error, BadParameter)
    assert error.param == "vad_filter"
    assert str(error).startswith("vad_filter: is not known, expected one of file, model, language, ")
