"""What the messages of a stream become for a client of Deepgram's."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from streamer.gateway.deepgram.described import RequestInfo
from streamer.gateway.deepgram.replies import Replies
from streamer.gateway.deepgram.request import read_live
from streamer.gateway.deepgram.utterances import Utterances
from streamer.gateway.head import Format
from streamer.session.messages import (
    Alternative,
    Done,
    Finalized,
    Flow,
    Ready,
    Result,
    ServerMessage,
    SpeechEvent,
    Word,
)
from tests.gateway.deepgram.asking import LINEAR, services
from tests.gateway.fake_host import LIMITS, FakeModelInfo

INFO = RequestInfo(FakeModelInfo(), "r1")  # type: ignore[arg-type]
READY = Ready("s1", "echo@1", 16000, 16000, 160.0, 200.0, LIMITS)


def replies(query: str = "") -> Replies:
    request = read_live(parse_qsl(f"{LINEAR}&interim_results=true&{query}"), services())
    made = Replies(request, INFO)
    made.begin(request.config(Format("pcm_s16le", 16000), "file"))
    return made


def told(made: Replies, *messages: ServerMessage) -> list[dict[str, Any]]:
    return [event for message in messages for event in made.take(message)]


def result(*words: tuple[str, float, float], final: bool = True, turn: bool = False, **others: Any) -> Result:
    """A result with these words, at seconds."""
    text = " ".join(word for word, _, _ in words)
    spans = tuple(Word(word, round(16000 * start), round(16000 * end), 0.75) for word, start, end in words)
    ends = (spans[0].start_sample, spans[-1].end_sample) if spans else (0, 0)
    return Result(0, 1, text, len(text), final, turn, *ends, 0.5, spans, **others)


def test_a_result() -> None:
    """Seconds, real confidences, the model, and whose turn it is."""
    first, second = told(
        replies(), result(("a", 0.5, 1.0), final=False), result(("a", 0.5, 1.0), ("b", 1.0, 1.25), turn=True)
    )
    words = [
        {"word": "a", "start": 0.5, "end": 1.0, "confidence": 0.75},
        {"word": "b", "start": 1.0, "end": 1.25, "confidence": 0.75},
    ]
    assert second == {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 0.5,
        "duration": 0.75,
        "is_final": True,
        "speech_final": True,
        "from_finalize": False,
        "channel": {"alternatives": [{"transcript": "a b", "confidence": 0.5, "words": words}]},
        "metadata": {
            "request_id": "r1",
            "model_info": {"name": "echo", "version": "1", "arch": "streamer"},
            "model_uuid": INFO.model_uuid,
        },
    }
    assert (first["is_final"], first["speech_final"], first["duration"]) == (False, False, 0.5)


def test_alternatives() -> None:
    """The best text with its words, then the others."""
    texts = (Alternative("a", 0.5), Alternative("b", 0.3))
    (event,) = told(replies("alternatives=2"), result(("a", 0.0, 1.0), alternatives=texts))
    best, other = event["channel"]["alternatives"]
    assert (best["transcript"], best["confidence"], len(best["words"])) == ("a", 0.5, 1)
    assert other == {"transcript": "b", "confidence": 0.3, "words": []}


def test_finalize_is_answered_by_its_last_final() -> None:
    """Finals wait until it is known whether they are the last; interims never do."""
    made = replies()
    made.asked()
    first, second, third = (result((word, at, at + 1.0)) for at, word in enumerate("abc"))
    assert told(made, first, Flow(0, 0, 0.0, 0.0)) == []
    (event,) = told(made, second)
    assert (event["channel"]["alternatives"][0]["transcript"], event["from_finalize"]) == ("a", False)
    (event,) = told(made, Finalized("", 32000))
    assert (event["channel"]["alternatives"][0]["transcript"], event["from_finalize"]) == ("b", True)
    (event,) = told(made, third)
    assert event["from_finalize"] is False


def test_finalize_is_answered_when_nothing_was_said() -> None:
    """An empty final: whoever waits for it goes on."""
    made = replies()
    made.asked()
    (event,) = told(made, Finalized("", 24000))
    assert (event["start"], event["duration"], event["is_final"], event["from_finalize"]) == (1.5, 0.0, True, True)
    assert event["channel"]["alternatives"] == [{"transcript": "", "confidence": 0.0, "words": []}]
    assert made.nothing()["from_finalize"] is True


def test_a_final_that_waits_is_not_lost() -> None:
    """It is told when the stream ends without an answer."""
    made = replies()
    made.asked()
    assert told(made, result(("a", 0.0, 1.0))) == []
    assert [event["type"] for event in made.flush()] == ["Results"]
    assert list(made.flush()) == []


def test_speech_is_told_to_those_who_ask() -> None:
    """Its begin, in seconds; its end is what `UtteranceEnd` tells."""
    events = (SpeechEvent("speech_start", 8000), SpeechEvent("speech_end", 16000))
    assert told(replies("vad_events=true"), *events) == [{"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.5}]
    assert told(replies("utterance_end_ms=1000"), *events) == []


def ends(made: Replies, *messages: ServerMessage) -> list[float]:
    return [event["last_word_end"] for event in told(made, *messages) if event["type"] == "UtteranceEnd"]


def flow(seconds: float) -> Flow:
    return Flow(0, round(16000 * seconds), 0.0, 0.0)


def test_an_utterance_ends_once_the_gap_is_heard() -> None:
    """By what the model has processed, less its delay; each end is told once."""
    made = replies("utterance_end_ms=1000")
    assert ends(made, READY, result(("a", 0.0, 1.0)), flow(2.1)) == []
    assert ends(made, flow(2.2)) == [1.0]
    assert ends(made, flow(9.0), Done(160000, 1)) == []


def test_the_detector_knows_of_the_gap_first() -> None:
    """Speech has ended when it has been quiet for as long as the client wants to wait; the final may come later."""
    for sample in (16800, 12000):
        quiet = SpeechEvent("speech_end", sample)
        final = result(("a", 0.0, 0.5), ("b", 0.5, 1.0))
        assert ends(replies("utterance_end_ms=1000"), READY, quiet, final) == [1.0]
        assert ends(replies("utterance_end_ms=1000"), READY, final, quiet, flow(60.0)) == [1.0]


def test_what_was_quiet_before_a_word_ends_none() -> None:
    """Nor does a pause while words are still being heard."""
    quiet = SpeechEvent("speech_end", 12000)
    assert ends(replies("utterance_end_ms=1000"), quiet, result(("a", 0.8, 1.0))) == []
    assert ends(replies("utterance_end_ms=1000"), result(("a", 0.0, 0.5)), interim(0.6), quiet) == []
    assert ends(replies("utterance_end_ms=1000"), interim(0.6), quiet) == []


def test_the_silence_that_ends_a_turn_counts() -> None:
    """An endpoint after 1.2 s of silence tells of a gap of one second, and not of one of two."""
    turn = result(("a", 0.0, 1.0), turn=True)
    assert ends(replies("utterance_end_ms=1000"), turn) == [1.0]
    assert ends(replies("utterance_end_ms=2000"), turn) == []


def test_the_end_of_the_audio_counts() -> None:
    """Silence at its end is a gap, if it is long enough."""
    for seconds, expected in ((1.9, []), (2.0, [1.0])):
        made = replies("utterance_end_ms=1000")
        assert ends(made, result(("a", 0.0, 1.0)), Done(round(16000 * seconds), 1)) == expected


def test_no_utterance_ends_unless_it_is_asked_for() -> None:
    """The parameter is off by default."""
    assert ends(replies(), result(("a", 0.0, 1.0)), flow(60.0), Done(960000, 1)) == []


def interim(start: float) -> Result:
    return result(("x", start, start + 0.1), final=False)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        # The next word comes within the gap: the utterance goes on until that word is final, and its gap heard.
        ([result(("a", 0.0, 1.0)), interim(1.5), 9.0], []),
        ([result(("a", 0.0, 1.0)), interim(1.5), 9.0, result(("b", 1.5, 2.0)), 9.0], [2.0]),
        # It comes after the gap, which nobody had told of before.
        ([result(("a", 0.0, 1.0)), interim(2.5)], [1.0]),
        ([result(("a", 0.0, 1.0)), result(("b", 2.5, 3.0))], [1.0]),
        # It was a mistake, and is taken back.
        ([result(("a", 0.0, 1.0)), interim(1.5), 3.0, result(final=False)], [1.0]),
        # Words that are not final end no utterance.
        ([interim(0.0), 9.0], []),
        ([result(final=True), 9.0], []),
    ],
)
def test_gaps(messages: list[Result | float], expected: list[float]) -> None:
    """Numbers are seconds that have been heard."""
    utterances = Utterances(16000)
    found = []
    for message in messages:
        heard = utterances.take(message) if isinstance(message, Result) else utterances.heard(round(16000 * message))
        found += [sample / 16000 for sample in heard]
    assert found == expected


def test_the_last_event() -> None:
    """What came, how long it was, and what heard it."""
    made = replies()
    told(made, Done(24000, 0))
    event = made.end("ab12")
    created = event.pop("created")
    assert created.endswith("Z")
    assert event == {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "r1",
        "sha256": "ab12",
        "duration": 1.5,
        "channels": 1,
        "models": [INFO.model_uuid],
        "model_info": {INFO.model_uuid: {"name": "echo", "version": "1", "arch": "streamer"}},
    }
