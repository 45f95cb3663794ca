"""Updates of a Realtime session, in both shapes."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.gateway.openai.errors import BadParameter
from streamer.gateway.openai.realtime_settings import (
    RealtimeSettings,
    TurnDetection,
    beta_plain,
    beta_updated,
    plain,
    updated,
)

FIRST = RealtimeSettings("echo")


def ga(**given: Any) -> RealtimeSettings:
    return updated(FIRST, {"type": "transcription", "audio": {"input": given}})


def refusal(update: Any, session: Any) -> BadParameter:
    with pytest.raises(BadParameter) as caught:
        update(FIRST, session)
    return caught.value


def test_an_update_changes_what_it_names() -> None:
    """Everything else stays."""
    settings = ga(format={"type": "audio/pcmu"}, turn_detection={"type": "server_vad", "threshold": 0.7})
    assert settings == RealtimeSettings("echo", "audio/pcmu", turn_detection=TurnDetection(0.7))
    assert (settings.encoding, settings.sample_rate) == ("pcm_mulaw", 8000)
    session = {"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}}}}
    assert updated(settings, session) == RealtimeSettings("echo", "audio/pcmu", "en", turn_detection=TurnDetection(0.7))
    off = updated(settings, {"type": "transcription", "audio": {"input": {"turn_detection": None}}})
    assert off.turn_detection is None


def test_both_shapes_say_the_same() -> None:
    """The beta has other names for it."""
    turns = {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 600, "silence_duration_ms": 350}
    transcription = {"model": "m", "language": "en", "prompt": ""}
    expected = RealtimeSettings("m", "audio/pcma", "en", turn_detection=TurnDetection(0.4, 600, 350))
    assert ga(format={"type": "audio/pcma"}, transcription=transcription, turn_detection=turns) == expected
    beta = {
        "input_audio_format": "g711_alaw",
        "input_audio_transcription": transcription,
        "turn_detection": turns,
        "input_audio_noise_reduction": None,
        "include": [],
    }
    assert beta_updated(FIRST, beta) == expected


@pytest.mark.parametrize(
    "settings", [FIRST, ga(turn_detection={"type": "server_vad"}), ga(format={"type": "audio/pcmu"})]
)
def test_what_is_shown_can_be_sent_back(settings: RealtimeSettings) -> None:
    """The session of an event, without its names, is an update that changes nothing."""
    shown = plain(settings, "s")
    assert (shown.pop("id"), shown.pop("object")) == ("s", "realtime.transcription_session")
    assert updated(settings, shown) == settings
    beta = beta_plain(settings, "s")
    del beta["id"], beta["object"]
    assert beta_updated(settings, beta) == settings


@pytest.mark.parametrize(
    ("given", "key", "message"),
    [
        (
            {"speed": 2},
            "speed",
            "is not supported, expected one of format, transcription, noise_reduction, turn_detection",
        ),
        ({"noise_reduction": {"type": "near_field"}}, "noise_reduction", "is not supported, expected null"),
        (
            {"format": {"type": "audio/opus"}},
            "format.type",
            "expected audio/pcm or audio/pcmu or audio/pcma, got 'audio/opus'",
        ),
        ({"format": {"type": "audio/pcm", "rate": 16000}}, "format.rate", "expected 24000 for audio/pcm, got 16000"),
        ({"format": "pcm16"}, "format", "expected an object, got 'pcm16'"),
        ({"transcription": None}, "transcription", "expected an object, got nothing"),
        (
            {"transcription": {"prompt": "Hi."}},
            "transcription.prompt",
            "is not supported, phrases that are likely to be said go into keywords",
        ),
        ({"transcription": {"delay": "low"}}, "transcription.delay", "is not supported, expected null"),
        ({"transcription": {"model": 1}}, "transcription.model", "expected a string, got 1"),
        ({"transcription": {"keywords": "a"}}, "transcription.keywords", "expected an array of strings, got 'a'"),
        (
            {"turn_detection": {"type": "semantic_vad"}},
            "turn_detection.type",
            "expected server_vad, got 'semantic_vad'",
        ),
        (
            {"turn_detection": {"type": "server_vad", "create_response": True}},
            "turn_detection.create_response",
            "is not supported, expected null",
        ),
        (
            {"turn_detection": {"type": "server_vad", "threshold": 1}},
            "turn_detection.threshold",
            "expected a number from 0.05 to 0.95, got 1",
        ),
        (
            {"turn_detection": {"type": "server_vad", "silence_duration_ms": 0.5}},
            "turn_detection.silence_duration_ms",
            "expected an integer from 0 to 10000, got 0.5",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(given: dict[str, Any], key: str, message: str) -> None:
    """The error names the whole path of the key."""
    error = refusal(updated, {"type": "transcription", "audio": {"input": given}})
    param = f"session.audio.input.{key}"
    assert (error.param, str(error)) == (param, f"{param}: {message}")


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({}, "session.type"),
        ([], "session"),
        ({"type": "transcription", "include": ["item.input_audio_transcription.logprobs"]}, "session.include"),
        ({"type": "transcription", "instructions": ""}, "session.instructions"),
        ({"type": "transcription", "audio": {"output": {}}}, "session.audio.output"),
    ],
)
def test_conversations_are_refused(session: Any, param: str) -> None:
    """Sessions here transcribe and do nothing else."""
    assert refusal(updated, session).param == param


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"modalities": ["text"]}, "session.modalities"),
        ({"input_audio_format": "pcm24"}, "session.input_audio_format"),
        ({"input_audio_noise_reduction": {"type": "far_field"}}, "session.input_audio_noise_reduction"),
        ({"input_audio_transcription": {"temperature": 0}}, "session.input_audio_transcription.temperature"),
        ({"voice": "alloy"}, "session.voice"),
    ],
)
def test_the_beta_is_as_strict(session: Any, param: str) -> None:
    """Its keys are named as it writes them."""
    assert refusal(beta_updated, session).param == param
