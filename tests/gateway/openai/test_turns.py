"""Items of a Realtime session, out of the messages of its stream."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.errors import ModelFault
from streamer.gateway.openai.errors import BadParameter
from streamer.gateway.openai.realtime_settings import RealtimeSettings, TurnDetection
from streamer.gateway.openai.turns import Turns
from streamer.session.messages import Finalized, SpeechEvent
from tests.gateway.openai.test_growing import result

RATE = 24_000
MANUAL = RealtimeSettings("echo")
DETECTED = RealtimeSettings("echo", turn_detection=TurnDetection(prefix_padding_ms=300, silence_duration_ms=500))
PREFIX = "conversation.item.input_audio_transcription."


def begun(settings: RealtimeSettings, seconds: float = 1.0, beta: bool = False) -> Turns:
    turns = Turns(beta)
    turns.stream_begins(settings)
    turns.appended(round(seconds * RATE))
    return turns


def short(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Type of each event, and what it says."""
    said = ("delta", "transcript", "audio_start_ms", "audio_end_ms")
    return [
        (event["type"].removeprefix(PREFIX), next((event[key] for key in said if key in event), None))
        for event in events
    ]


def test_the_client_commits() -> None:
    """Text is told as it is heard; the item is complete when the stream has answered its `Finalize`."""
    turns = begun(MANUAL)
    closed, said = turns.take(result("the fer", 4))
    assert (closed, short(said)) == (None, [("delta", "the ")])
    item, said = turns.commit()
    assert [event["type"] for event in said] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert {event.get("item_id") or event["item"]["id"] for event in said} == {item}
    assert short(turns.take(result("the ferry"))[1]) == [("delta", "ferry")]
    _, said = turns.take(Finalized(item, RATE))
    assert short(said) == [("completed", "the ferry")]
    assert said[0]["usage"] == {"type": "duration", "seconds": 1.0}


def test_items_know_the_one_before() -> None:
    """Clients put items in order by it."""
    turns = begun(MANUAL)
    first, said = turns.commit()
    assert said[0]["previous_item_id"] is None
    turns.appended(1)
    _, said = turns.commit()
    assert {event["previous_item_id"] for event in said} == {first}


def test_text_belongs_to_the_item_that_waits_for_it() -> None:
    """What comes before the answer to `Finalize` is of the committed item, though more audio has come since."""
    turns = begun(MANUAL)
    first, _ = turns.commit()
    turns.appended(RATE)
    assert turns.take(result("one"))[1][0]["item_id"] == first
    assert short(turns.take(Finalized(first, RATE))[1]) == [("completed", "one")]
    second = turns.take(result("two", segment=1))[1][0]["item_id"]
    assert second != first
    assert turns.commit()[0] == second


def test_an_empty_buffer_cannot_be_committed() -> None:
    """The code is the one that OpenAI's clients know."""
    turns = Turns()
    with pytest.raises(
        BadParameter, match="^input_audio_buffer: expected audio to commit, the buffer is empty$"
    ) as caught:
        turns.commit()
    assert caught.value.code == "input_audio_buffer_commit_empty"


def test_what_is_cleared_is_not_told() -> None:
    """Neither its text, nor that it is complete; what follows is an item of its own."""
    turns = begun(MANUAL)
    item, said = turns.clear()
    assert item is not None
    assert short(said) == [("input_audio_buffer.cleared", None)]
    assert turns.take(result("secret"))[1] == []
    assert turns.take(Finalized(item, RATE))[1] == []
    turns.appended(RATE)
    kept, _ = turns.commit()
    turns.take(result("kept", segment=1))
    assert short(turns.take(Finalized(kept, RATE))[1]) == [("completed", "kept")]


def test_clearing_nothing_needs_no_stream() -> None:
    """It is answered all the same."""
    assert Turns().clear()[0] is None


def test_the_detector_commits() -> None:
    """Speech that ends closes its item, whose id was told when it began; text before that is held back."""
    turns = begun(DETECTED, 3.0)
    assert turns.take(result("hello", 2))[1] == []
    _, said = turns.take(SpeechEvent("speech_start", RATE))
    assert short(said) == [("input_audio_buffer.speech_started", 700), ("delta", "he")]
    item = said[0]["item_id"]
    closed, said = turns.take(SpeechEvent("speech_end", 2 * RATE))
    assert closed == item
    assert short(said)[:2] == [("input_audio_buffer.speech_stopped", 2500), ("input_audio_buffer.committed", None)]
    turns.take(result("hello"))
    assert short(turns.take(Finalized(item, 3 * RATE))[1]) == [("completed", "hello")]


def test_times_stay_within_the_audio() -> None:
    """Padding before the start of the session, and silence that was not sent, are not told."""
    turns = begun(DETECTED, 1.1)
    assert short(turns.take(SpeechEvent("speech_start", 0))[1]) == [("input_audio_buffer.speech_started", 0)]
    assert short(turns.take(SpeechEvent("speech_end", RATE))[1])[0][1] == 1100


def test_times_go_on_over_streams() -> None:
    """They count from the start of the session, whichever stream heard the audio."""
    turns = begun(DETECTED, 2.0)
    turns.stream_ended()
    turns.stream_begins(DETECTED)
    turns.appended(RATE)
    assert short(turns.take(SpeechEvent("speech_start", RATE // 2))[1])[0][1] == 2200


def test_a_client_may_commit_during_speech() -> None:
    """Then the end of that speech closes nothing."""
    turns = begun(DETECTED)
    turns.take(SpeechEvent("speech_start", 0))
    turns.commit()
    assert turns.take(SpeechEvent("speech_end", RATE)) == (None, [])


def test_speech_that_the_stream_ends_in_is_complete() -> None:
    """As when the client rests for too long: nothing that was heard is lost."""
    turns = begun(DETECTED)
    turns.take(SpeechEvent("speech_start", 0))
    turns.take(result("bye"))
    kinds = [kind for kind, _ in short(turns.stream_ended())]
    assert kinds == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "completed",
    ]


def test_words_that_the_detector_missed_are_told() -> None:
    """At the latest when the stream ends."""
    turns = begun(DETECTED)
    turns.take(result("psst"))
    assert short(turns.stream_ended())[-1] == ("completed", "psst")


def test_a_stream_that_ends_before_the_commit() -> None:
    """The item stays open, and what a next stream hears is added to it."""
    turns = begun(MANUAL)
    turns.take(result("one"))
    assert turns.stream_ended() == []
    turns.stream_begins(MANUAL)
    turns.appended(RATE)
    turns.take(result("two"))
    item, _ = turns.commit()
    said = turns.finalized(item)
    assert short(said) == [("completed", "one two")]
    assert said[0]["usage"]["seconds"] == 2.0


def test_a_fault_fails_what_waits() -> None:
    """Clients learn of each item that gets no text."""
    turns = begun(MANUAL)
    item, _ = turns.commit()
    turns.appended(1)
    turns.clear()
    (event,) = turns.failed(ModelFault("step failed"))
    assert (event["type"], event["item_id"]) == (PREFIX + "failed", item)
    assert event["error"] == {"message": "step failed", "type": "server_error", "param": None, "code": "server_error"}


def test_the_beta_creates_items() -> None:
    """It knows one event where GA has two."""
    turns = begun(MANUAL, beta=True)
    assert [event["type"] for event in turns.commit()[1]] == [
        "input_audio_buffer.committed",
        "conversation.item.created",
    ]
