"""Text of a stream: read part by part, and written words kept for as long as they are needed."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.errors import InvalidRequest
from streamer.session.messages import End
from streamer.tasks.synthesis_options import SynthesisOptions
from streamer.tasks.voice_reading import PART, Reading, VoiceReader
from tests.session.speech_driver import FILE, SpeechBench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("voice"))


def reader_of(bench: SpeechBench, **options: str) -> VoiceReader:
    return bench.make_task.args[1].reader(SynthesisOptions(**options))  # type: ignore[attr-defined, no-any-return]


def everything(reader: VoiceReader) -> list[Reading]:
    taken = []
    while reader.has_unread or reader.has_piece:
        reader.read()
        if reader.has_piece:
            taken.append(reader.take())
    return taken


def written(reading: Reading) -> list[tuple[str, int, int]]:
    """The words of a piece as they were written, with their characters."""
    utterance = reading.new_piece().plan([])
    spans = reading.words(np.ones(utterance.end - utterance.begin, np.int64), 0, 1)
    return [(span.word, span.start_char, span.end_char) for span in spans]


def test_it_reads_no_further_than_it_must(bench: SpeechBench) -> None:
    """A part at a time, and nothing while a piece is complete; what waits is counted."""
    reader = reader_of(bench)
    reader.feed("hello " * 1000)
    assert reader.waiting_chars == 6000
    assert not reader.has_piece
    reader.read()
    assert reader.has_piece
    first = reader.take()
    assert written(first)[:2] == [("hello", 0, 5), ("hello", 6, 11)]
    assert reader.waiting_chars == 6000
    assert len(reader._unread) == 6000 - PART
    # What was spoken is forgotten when the next piece is taken.
    while not reader.has_piece:
        reader.read()
    second = reader.take()
    assert reader.waiting_chars < 6000
    assert written(second)[0][1] == written(first)[-1][1] + 6


def test_places_count_through_everything(bench: SpeechBench) -> None:
    """Whatever was finished or dropped before, and whatever the words stand for."""
    reader = reader_of(bench)
    text = ["Hello  world", " \U0001f642 costs $3.50\n", "never said ", "Good morning."]
    reader.feed(text[0])
    reader.finish()
    assert [written(each) for each in everything(reader)] == [[("Hello", 0, 5), ("world", 7, 12)]]
    assert reader.waiting_chars == 0
    reader.feed(text[1])
    reader.finish()
    (words,) = [written(each) for each in everything(reader)]
    assert words == [("costs", 15, 20), ("$3.50", 21, 26)]
    reader.feed(text[2])
    reader.drop()
    assert reader.waiting_chars == 0
    reader.feed(text[3])
    reader.finish()
    start = sum(map(len, text[:3]))
    assert [written(each) for each in everything(reader)] == [
        [("Good", start, start + 4), ("morning", start + 5, start + 12)]
    ]


def test_what_cannot_be_spoken_is_forgotten(bench: SpeechBench) -> None:
    """Once it is finished; blanks do not fill a stream up."""
    reader = reader_of(bench)
    for _ in range(3):
        reader.feed(" ... " * 500)
        reader.finish()
        assert everything(reader) == []
        assert reader.waiting_chars == 0


def test_long_texts_without_a_word_hold_nobody_up(bench: SpeechBench) -> None:
    """They are read in many steps, with those of other streams between them."""
    dots, hello = bench.open(FILE, 0), bench.open(FILE, 1)
    dots.send("." * 20 * PART)
    hello.send("Hello. Good morning. ")
    steps = 0
    while bench.step(dots, hello):
        steps += 1
    assert steps >= 5
    assert len(hello.samples)
    dots.send(End())
    bench.run(dots)
    assert dots.session.closed
    assert dots.samples.size == 0


def test_refuses_what_no_text_holds(bench: SpeechBench) -> None:
    """By its place in the message; tabs and line breaks are text."""
    reader = reader_of(bench)
    reader.feed("a\tb\r\nc\u00a0\u2028\U0001f642\ue000")
    for text, refusal in (
        ("ab\x00", "text: expected no control characters, got U+0000 at character 2"),
        ("\x7f", "text: expected no control characters, got U+007F at character 0"),
        ("\x85", "text: expected no control characters, got U+0085 at character 0"),
        ("\udfff", "text: expected no lone surrogates, got U+DFFF at character 0"),
    ):
        with pytest.raises(InvalidRequest) as error:
            reader.feed(text)
        assert str(error.value) == refusal
