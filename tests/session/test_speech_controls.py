"""Controls of streams of text: `Finalize`, `Interrupt`, `Cancel`, and what came around them."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.session.messages import (
    Cancel,
    Done,
    End,
    Finalize,
    Finalized,
    Interrupt,
    Interrupted,
    Ready,
    Text,
)
from streamer.session.session import SessionSettings
from tests.session.speech_driver import FILE, SpeechBench, speaking
from tests.toys.voice import DELAY, FRAME, RATE, prior_of, voice_expected

TEXT = "Hello, world. Two zorks cost $3.50, good morning! One more"
OTHERS = ("Good morning.", "One, two, three: hello world!", "Three worlds; one morning - two hellos.", "A zork.")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("voice"))


@pytest.fixture(autouse=True)
def _clock(bench: SpeechBench) -> None:
    bench.now, bench.settings = 0.0, SessionSettings()


def test_finalize(bench: SpeechBench) -> None:
    """All text before it is out, to the last sample, when it is answered; what follows goes on without a join."""
    alone = bench.whole(FILE, "Hello, world")
    stream = bench.open(FILE)
    stream.send("Hello, world")
    bench.run(stream)
    assert stream.audio == []
    stream.send(Finalize("a"))
    bench.run(stream)
    n = len(stream.samples)
    assert stream.said[-1] == Finalized("a", n)
    assert 0 <= n - len(alone.samples) < 2 * FRAME
    assert stream.pcm[: len(alone.pcm)] == alone.pcm
    stream.send(Finalize("b"))
    assert stream.said[-1] == Finalized("b", n)
    for message in (" Good morning.", End()):
        stream.send(message)
    bench.run(stream)
    # The pause that pushed the first text out is as many frames of the sound that there was last.
    hello, morning = (
        prior_of(["^", "HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", "."]),
        prior_of(["^", "G", "UH1", "D", "_", "M", "AO1", "R", "N", "IH0", "NG", "."]),
    )
    tail = np.repeat(hello[-1:], -(-(DELAY + RATE // 200) // FRAME), axis=0)
    expected = voice_expected([hello, tail, morning])
    np.testing.assert_array_equal(stream.samples[:-DELAY], expected[:-DELAY])
    assert len(stream.samples) == len(expected)


def test_controls_wait_for_their_text(bench: SpeechBench) -> None:
    """Sent all at once, or each when the one before was answered: the same, and in the same order."""
    parts = ["Hello", Finalize("a"), Text("Good morn"), Text("ing"), Finalize("b"), Finalize("c"), Text("Two. "), End()]
    slow, fast = bench.open(FILE), bench.open(FILE)
    for part in parts:
        slow.send(part)
        bench.run(slow)
        fast.send(part)
    bench.run(fast)
    assert fast.pcm == slow.pcm
    kinds = (Finalized, Done)
    answers = [message for message in fast.said if isinstance(message, kinds)]
    assert answers == [message for message in slow.said if isinstance(message, kinds)]
    assert [getattr(answer, "id", "done") for answer in answers] == ["a", "b", "c", "done"]


def test_text_after_a_control_is_counted(bench: SpeechBench) -> None:
    """What waits behind a `Finalize` is part of what waits, until it is taken or dropped; empty text is nothing."""
    stream = bench.open(FILE)
    full = bench.settings.max_ahead_ms * RATE / 1000
    stream.send("Hello")
    stream.send(Finalize())
    for text in ("", "a" * 65_536, ""):
        stream.send(text)
    assert full <= stream.session.buffered_samples < 1.01 * full
    stream.send(Interrupt())
    assert stream.session.buffered_samples == 0
    for message in ("Hello", Finalize(), Text("One. " * 1000)):
        stream.send(message)
    bench.run(stream)
    assert stream.session.buffered_samples < full * 5000 / 65_536
    stream.send(End())
    bench.run(stream)
    assert stream.session.closed


def test_interrupt(bench: SpeechBench) -> None:
    """Text and audio that were not said are dropped, also of the step that is out; what follows is as in a new one."""
    alone = bench.whole(speaking(word_times=True), "Good morning.")
    for steps, is_out in ((0, False), (2, False), (2, True)):
        stream = bench.open(speaking(word_times=True))
        stream.send(TEXT)
        for _ in range(steps):
            bench.step(stream)
        step = stream.session.next_step(bench.now) if is_out else None
        stream.send(Finalize("never"))
        n = len(stream.samples)
        stream.send(Interrupt("b"))
        assert stream.said[-1] == Interrupted("b", n)
        stream.send("Good morning.")
        if step is not None:
            bench.finish([(stream, step)])
            assert len(stream.samples) == n
        stream.send(End())
        bench.run(stream)
        assert stream.samples[n:].tobytes() == alone.pcm
        assert stream.said[-1] == Done(len(stream.samples), 0)
        assert not any(isinstance(message, Finalized) for message in stream.said)
        late = stream.words[-2:]
        assert [word.word for word in late] == ["Good", "morning"]
        assert [word.start_sample - n for word in late] == [word.start_sample for word in alone.words]
        assert [word.start_char - len(TEXT) for word in late] == [word.start_char for word in alone.words]


def test_cancel_frees_a_clean_slot(bench: SpeechBench) -> None:
    """Nothing is said after it but how much was; whoever gets the slot next hears nothing of it."""
    alone = bench.whole(FILE, OTHERS[1], slot=2).pcm
    stream = bench.open(FILE, slot=2)
    stream.send(TEXT)
    bench.step(stream)
    step = stream.session.next_step(bench.now)
    assert step is not None
    stream.send(Cancel())
    assert stream.session.closed
    assert stream.said[-1] == Done(len(stream.samples), 0, cancelled=True)
    stream.session.complete({}, bench.now)
    assert stream.session.next_step(bench.now) is None
    assert bench.whole(FILE, OTHERS[1], slot=2).pcm == alone


def test_nothing_to_say(bench: SpeechBench) -> None:
    """No text, blanks, and what has no words are spoken in no time."""
    for text in ("", " \n\t ", "...", "\U0001f642", "()"):
        stream = bench.whole(FILE, text)
        assert [type(message) for message in stream.said] == [Ready, Done], text
        assert stream.said[-1] == Done(0, 0)
        assert stream.session.heard_s == 0.0
    stream = bench.open(FILE)
    stream.send(Finalize("a"))
    stream.send(Interrupt("b"))
    stream.send(End())
    assert stream.said[1:] == [Finalized("a", 0), Interrupted("b", 0), Done(0, 0)]
