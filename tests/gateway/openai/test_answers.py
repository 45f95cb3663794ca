"""Transcripts in OpenAI's formats."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from typing import Any

import pytest

from streamer.gateway.openai.answers import answer, server_sent
from streamer.gateway.openai.request import TranscriptionRequest
from streamer.session.messages import Decoding
from streamer.transcripts.transcript import Segment, Transcript, Word
from tests.gateway.fake_host import FakeModelInfo

WORDS = (Word("good", 0.1, 0.4, 0.9), Word("day", 0.4, 0.70004, 0.5))
SEGMENTS = (Segment(0.1, 0.7, "good day", 0.7, True, WORDS), Segment(2.0, 2.5, "bye", 0.0, True))
TRANSCRIPT = Transcript("a.wav", 3.00005, "echo@1", SEGMENTS)
MODEL: Any = FakeModelInfo()
REQUEST = TranscriptionRequest(MODEL, "", Decoding(), "json", frozenset({"segment"}), False, None)


def written(form: str, **changes: Any) -> tuple[str, str]:
    response = answer(TRANSCRIPT, replace(REQUEST, response_format=form, **changes))
    return response.headers["content-type"], bytes(response.body).decode()


@pytest.mark.parametrize(
    ("form", "kind", "text"),
    [
        ("text", "text/plain", "good day bye\n"),
        ("json", "application/json", '{"text":"good day bye","usage":{"type":"duration","seconds":3.0}}'),
        (
            "srt",
            "text/plain",
            "1\n00:00:00,100 --> 00:00:01,100\ngood day\n\n2\n00:00:02,000 --> 00:00:03,000\nbye\n",
        ),
        (
            "vtt",
            "text/vtt",
            "WEBVTT\n\n00:00:00.100 --> 00:00:01.100\ngood day\n\n00:00:02.000 --> 00:00:03.000\nbye\n",
        ),
    ],
)
def test_each_format_has_its_type(form: str, kind: str, text: str) -> None:
    """Text is one line; the others are what the command line writes."""
    assert written(form) == (f"{kind}; charset=utf-8" if kind.startswith("text") else kind, text)


def test_segments_have_every_key() -> None:
    """Clients of strict languages require all of them, and JSON has no infinity."""
    verbose = json.loads(written("verbose_json")[1])
    first, last = verbose.pop("segments")
    assert verbose == {
        "task": "transcribe",
        "language": "en",
        "duration": 3.0,
        "text": "good day bye",
        "usage": {"type": "duration", "seconds": 3.0},
    }
    assert first == {
        "id": 0,
        "seek": 0,
        "start": 0.1,
        "end": 0.7,
        "text": "good day",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(0.7), 4),
        "compression_ratio": round(8 / len(zlib.compress(b"good day")), 3),
        "no_speech_prob": 0.0,
        "confidence": 0.7,
    }
    assert (last["id"], last["avg_logprob"]) == (1, round(math.log(1e-6), 4))


def test_words_have_times_and_confidence() -> None:
    """In seconds to the millisecond."""
    verbose = json.loads(written("verbose_json", granularities=frozenset({"word"}))[1])
    assert "segments" not in verbose
    assert verbose["words"] == [
        {"word": "good", "start": 0.1, "end": 0.4, "confidence": 0.9},
        {"word": "day", "start": 0.4, "end": 0.7, "confidence": 0.5},
    ]


def test_the_language_is_what_was_asked_for_or_the_only_one() -> None:
    """Nothing here tells languages apart."""
    several: Any = FakeModelInfo(languages=("en", "de"))
    for changes, language in (({"language": "de", "model": several}, "de"), ({"model": several}, "unknown")):
        assert json.loads(written("verbose_json", **changes)[1])["language"] == language


def test_an_event_is_one_line() -> None:
    """Line breaks in the text are escaped by JSON."""
    assert server_sent({"delta": "é\n"}) == 'data: {"delta": "é\\n"}\n\n'
