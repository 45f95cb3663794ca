"""Any messages in any order, stepped at any time: answers in order, positions without gaps, and nothing unforeseen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamer.session.messages import (
    AudioOut,
    Cancel,
    Done,
    End,
    Finalize,
    Finalized,
    Interrupt,
    Interrupted,
    KeepAlive,
    Spoken,
    Text,
)
from tests.session.speech_driver import SpeechBench, speaking

WORDS = st.sampled_from(
    ["hello", "zork", "world.", "good, ", " ", "\n", "$3.50", "Dr. ", "1/2", "?!", "one two", "e.g", "-"]
)
TEXTS = st.one_of(
    st.lists(WORDS, max_size=6).map(" ".join), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
)
MESSAGES = st.one_of(
    TEXTS.map(Text),
    TEXTS.map(Text),
    st.just(Finalize("f")),
    st.just(Interrupt("i")),
    st.just(KeepAlive()),
    st.integers(1, 4),
)
ENDS = st.sampled_from([End(), Cancel()])
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("voice"))


@relaxed
@example([Text("hello"), Finalize("f"), Text("#")], End(), "clauses")
@given(st.lists(MESSAGES, max_size=12), ENDS, st.sampled_from(["clauses", "words"]))
def test_any_messages(bench: SpeechBench, messages: list[Any], end: Any, pieces: str) -> None:
    """A number is so many steps. Every `Interrupt` is answered, and every `Finalize` that none came after."""
    stream = bench.open(speaking(word_times=True, pieces=pieces))
    for message in [*messages, end]:
        if isinstance(message, int):
            for _ in range(message):
                bench.step(stream)
        else:
            stream.send(message)
    bench.run(stream)
    assert stream.session.closed
    assert stream.session.error is None
    check_positions(stream.said)
    assert stream.said[-1] == Done(len(stream.samples), 0, cancelled=isinstance(end, Cancel))
    kinds = [type(message) for message in messages]
    answers = [message for message in stream.said if isinstance(message, Interrupted)]
    assert len(answers) == kinds.count(Interrupt)
    if isinstance(end, End):
        last = len(kinds) - 1 - kinds[::-1].index(Interrupt) if Interrupt in kinds else -1
        answered = sum(isinstance(message, Finalized) for message in stream.said)
        assert kinds[last + 1 :].count(Finalize) <= answered <= kinds.count(Finalize)


def check_positions(said: list[Any]) -> None:
    """Audio follows on audio, words lie in order before the audio that holds them, and answers count all of it."""
    position, start = 0, 0
    for message in said:
        match message:
            case AudioOut(data, first):
                assert first == position
                position += len(data) // 4
            case Spoken(words):
                for word in words:
                    assert start <= word.start_sample <= word.end_sample
                    assert word.word
                    assert len(word.word) == word.end_char - word.start_char
                    start = word.start_sample
            case Finalized(_, sample) | Interrupted(_, sample):
                assert sample == position


@relaxed
@given(st.lists(TEXTS, max_size=6), st.data())
def test_any_partition_of_any_text(bench: SpeechBench, texts: list[str], data: Any) -> None:
    """Whatever it is, the same bytes and the same words."""
    text = "".join(texts)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    parts = [text[first:last] for first, last in zip([0, *places], [*places, len(text)], strict=True)]
    whole = bench.whole(speaking(word_times=True), text)
    stream = bench.whole(speaking(word_times=True), *parts)
    assert stream.pcm == whole.pcm
    assert stream.words == whole.words
