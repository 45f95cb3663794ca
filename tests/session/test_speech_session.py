"""Streams of text: what is said does not depend on how text came, how it was stepped, or who else was there."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from streamer.audio.pcm import decode, encode
from streamer.audio.resample import Resampler
from streamer.errors import ModelFault, StreamTimeout
from streamer.session.messages import (
    AudioOut,
    Cancel,
    Done,
    End,
    Finalize,
    Finalized,
    Flow,
    Interrupt,
    Interrupted,
    Ready,
    Spoken,
    Text,
)
from streamer.session.session import SessionSettings
from streamer.tasks.voice_pacing import Pacing
from streamer.tasks.voice_reading import Reading
from tests.session.speech_driver import FILE, LIVE, SpeechBench, SpeechStream, speaking
from tests.toys.voice import DELAY, FRAME, RATE, prior_of, spelled, voice_expected

TEXT = "Hello, world. Two zorks cost $3.50, good morning! One more"
OTHERS = ("Good morning.", "One, two, three: hello world!", "Three worlds; one morning - two hellos.", "A zork.")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("voice"))


@pytest.fixture(autouse=True)
def _clock(bench: SpeechBench) -> None:
    bench.now, bench.settings = 0.0, SessionSettings()


def random_cuts(text: str, dice: np.random.Generator) -> list[str]:
    places = sorted(dice.integers(0, len(text) + 1, dice.integers(0, 12)).tolist())
    return [text[first:last] for first, last in itertools.pairwise([0, *places, len(text)])]


def test_what_is_said_can_be_worked_out(bench: SpeechBench) -> None:
    """Two pieces, an unknown word spelled by the model, and frames that count on from piece to piece."""
    stream = bench.whole(FILE, "Hello, world. One zork!")
    pieces = [
        ["^", "HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", "."],
        ["^", "W", "AH1", "N", "_", *spelled("zork"), "!"],
    ]
    expected = voice_expected([prior_of(piece) for piece in pieces])
    assert stream.said[-1] == Done(len(expected), 0)
    np.testing.assert_array_equal(stream.samples[:-DELAY], expected[:-DELAY])


@pytest.mark.parametrize("pieces", ["clauses", "words"])
def test_any_partition_of_the_text(bench: SpeechBench, pieces: str) -> None:
    """Messages cut anywhere, stepped as they come or all at once: the same bytes, and the same words."""
    config = speaking(pieces=pieces, word_times=True)
    whole = bench.whole(config, TEXT)
    dice = np.random.default_rng(1)
    for parts in ([*TEXT], *(random_cuts(TEXT, dice) for _ in range(6))):
        stream = bench.whole(config, *parts)
        assert stream.pcm == whole.pcm, parts
        assert stream.words == whole.words, parts
    assert len(whole.pcm) > 4 * RATE


@pytest.mark.parametrize("schedule", [(1,), (7, 3), (50,), (10, 25, 50, 2)])
def test_any_schedule_of_chunks(bench: SpeechBench, monkeypatch: pytest.MonkeyPatch, schedule: tuple[int, ...]) -> None:
    """However many frames a step makes, the audio is the same to the last bit."""
    usual = bench.whole(speaking(word_times=True), TEXT)
    sizes = itertools.cycle(schedule)
    monkeypatch.setattr(Pacing, "frames", lambda self, now: next(sizes))
    stream = bench.whole(speaking(word_times=True), TEXT)
    assert stream.pcm == usual.pcm
    assert stream.words == usual.words


def test_together_as_alone(bench: SpeechBench) -> None:
    """Streams of other texts, seeds, speeds and modes in one batch; each says what it says alone."""
    configs = [speaking(seed=3), speaking(speed=1.5), speaking(LIVE, seed=4, temperature=0.0), speaking(pieces="words")]
    alone = [bench.whole(config, text).pcm for config, text in zip(configs, OTHERS, strict=True)]
    assert len({*alone}) == 4
    bench.batches.clear()
    streams = [bench.open(config, slot) for slot, config in enumerate(configs)]
    dice = np.random.default_rng(2)
    rest = [[*random_cuts(text, dice)] for text in OTHERS]
    while any(rest) or any(not stream.session.closed for stream in streams):
        for stream, parts in zip(streams, rest, strict=True):
            if parts:
                stream.send(parts.pop(0))
                if not parts:
                    stream.send(End())
        bench.step(*(stream for stream in streams if dice.random() < 0.7))
        bench.now += 0.05
    assert [stream.pcm for stream in streams] == alone
    assert max(bench.batches) > 1


def test_seed_and_temperature(bench: SpeechBench) -> None:
    """The same seed is the same sound; another seed or temperature is another one."""
    said = [bench.whole(speaking(**options), "Hello.").pcm for options in ({}, {"seed": 1}, {"temperature": 0.5}, {})]
    assert said[0] == said[3]
    assert len({*said}) == 3
    expected = voice_expected([prior_of(["^", "HH", "AH0", "L", "OW1", "."])], seed=1)
    np.testing.assert_array_equal(np.frombuffer(said[1], np.float32)[:-DELAY], expected[:-DELAY])


def test_speed(bench: SpeechBench) -> None:
    """Frames of each symbol are divided by the speed, and rounded; none that sounds is lost."""
    for speed in (0.5, 1.25, 2.0):
        symbols = ["^", "G", "UH1", "D", "_", "M", "AO1", "R", "N", "IH0", "NG", "."]
        expected = prior_of(symbols, speed=speed)
        assert bench.whole(speaking(speed=speed), "Good morning.").said[-1] == Done(len(expected) * FRAME, 0)


@pytest.mark.parametrize(("rate", "output"), [(8000, "pcm_mulaw"), (16000, "pcm_s16le"), (44100, "pcm_alaw")])
def test_rates_and_encodings(bench: SpeechBench, rate: int, output: str) -> None:
    """The model's audio, resampled as a whole and written in the encoding; `Done` and words count at that rate."""
    floats = bench.whole(speaking(word_times=True), TEXT)
    resampler = Resampler(RATE, rate)
    whole = np.concatenate((resampler.push(floats.samples), resampler.flush()))
    config = replace(speaking(output_encoding=output, word_times=True), sample_rate=rate)
    stream = bench.whole(config, TEXT)
    assert stream.pcm == encode(whole, output)
    assert stream.said[-1] == Done(len(whole), 0)
    assert [word.start_sample for word in stream.words] == [word.start_sample * rate // RATE for word in floats.words]
    positions = np.cumsum([0, *(len(decode(message.data, output)) for message in stream.audio)])
    assert [message.first_sample for message in stream.audio] == positions[:-1].tolist()


def test_words_come_before_their_audio(bench: SpeechBench) -> None:
    """Every word is told once, in order, with the characters that it stands for and its place in the audio."""
    stream = bench.whole(speaking(word_times=True), TEXT)
    told = 0
    for message in stream.said:
        if isinstance(message, Spoken):
            assert all(word.start_sample >= told for word in message.words)
        elif isinstance(message, AudioOut):
            told = message.first_sample + len(message.data) // 4
            assert all(word.start_sample >= told for word in stream.words if word not in said_before(stream, message))
    words = stream.words
    assert [word.word for word in words] == [TEXT[word.start_char : word.end_char] for word in words]
    assert " ".join(word.word for word in words) == "Hello world Two zorks cost $3.50 good morning One more"
    for before, after in itertools.pairwise(words):
        assert before.start_sample < before.end_sample <= after.start_sample
    assert words[-1].end_sample <= len(stream.samples)
    # Silence of three frames, then one to five frames a sound.
    assert words[0].start_sample == len(prior_of(["^"])) * FRAME
    assert words[0].end_sample == len(prior_of(["^", "HH", "AH0", "L", "OW1"])) * FRAME
    assert bench.whole(FILE, TEXT).words == []


def said_before(stream: SpeechStream, until: AudioOut) -> list[object]:
    before = itertools.takewhile(lambda message: message is not until, stream.said)
    return [word for message in before if isinstance(message, Spoken) for word in message.words]


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
    parts = ["Hello", Finalize("a"), Text("Good mor"), Text("ning"), Finalize("b"), Finalize("c"), Text("Two. "), End()]
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
            finish(bench, stream, step)
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


def finish(bench: SpeechBench, stream: SpeechStream, step: object) -> None:
    """Run a step that was taken before."""
    stream.session.next_step, held = (lambda now: step), stream.session.next_step  # type: ignore[method-assign]
    bench.step(stream)
    stream.session.next_step = held  # type: ignore[method-assign]


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


def test_a_live_stream_is_paced(bench: SpeechBench) -> None:
    """Audio is never made more than `lead_s` ahead of playback, nor too late for it; chunks grow from ten frames on."""
    config = speaking(LIVE, lead_s=2.0)
    stream = bench.open(config)
    stream.send(TEXT * 3)
    stream.send(End())
    while not stream.session.closed:
        bench.run(stream)
        ahead_s = len(stream.samples) / RATE - bench.now
        assert 0 < ahead_s <= 2.0
        bench.now += 0.25
    # As long as the audio, but for what was made ahead.
    assert len(stream.samples) / RATE - 2.0 <= bench.now <= len(stream.samples) / RATE
    assert stream.pcm == bench.whole(FILE, TEXT * 3).pcm


def frames_of(stream: SpeechStream) -> list[int]:
    """The frames of each step, but for what the model's delay has taken from the first one."""
    return [-(-len(message.data) // (4 * FRAME)) for message in stream.audio]


@pytest.mark.parametrize("mode", ["live", "file"])
def test_chunks_grow(bench: SpeechBench, mode: str) -> None:
    """The first is short, to be heard soon, and larger ones follow once their listener has enough to hear."""
    stream = bench.open(replace(FILE, mode=mode))
    stream.send("hello world " * 60)
    bench.run(stream)
    first, *rest = frames_of(stream)
    assert first <= 10
    # 9 frames and a bit are 0.18 s; then 0.68 s, then more than a second.
    assert rest[:3] == [25, 25, 50]
    if mode == "file":
        assert set(rest[2:-1]) == {50}
    else:
        assert len(stream.samples) <= 3 * RATE


def test_first_chunks_go_first(bench: SpeechBench) -> None:
    """A step is due when its listener has heard the rest; of a listener who has nothing yet, when the text came."""
    early, late = bench.open(LIVE, 0), bench.open(LIVE, 1)
    early.send(TEXT)
    bench.step(early)
    bench.now = 0.1
    late.send(TEXT)
    for stream in (early, late):
        assert stream.session.next_step(bench.now) is not None
    assert early.session.deadline() == pytest.approx(len(early.samples) / RATE)
    assert late.session.deadline() == 0.1


def test_lag_is_the_wait_for_audio(bench: SpeechBench) -> None:
    """From the arrival of the text that completes a piece to its audio."""
    stream = bench.open(LIVE)
    stream.send("Hello, wor")
    bench.run(stream)
    bench.now = 5.0
    stream.send("ld. Good")
    step = stream.session.next_step(bench.now)
    bench.now = 5.03
    finish(bench, stream, step)
    assert stream.session.lag_s == pytest.approx(0.03)


def test_idle_streams_end(bench: SpeechBench) -> None:
    """A client that sends no text is told so; one that is being spoken to, or listens, is not idle."""
    bench.settings = SessionSettings(idle_timeout_ms=2000)
    stream = bench.open(LIVE)
    stream.send(TEXT * 3)
    bench.run(stream)
    for _ in range(8):
        bench.now += 1.0
        stream.session.tick(bench.now)
        bench.run(stream)
    while stream.session.next_step(bench.now) is not None or stream.session.is_early:
        bench.now += 0.25
        bench.run(stream)
    stream.session.tick(bench.now + 1.9)
    with pytest.raises(StreamTimeout, match="no message within 2 s"):
        stream.session.tick(bench.now + 4.0)


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


def test_ready_and_flow(bench: SpeechBench) -> None:
    """`Ready` tells the rate of what comes out, the first chunk and the delay; `Flow` how much was said."""
    stream = bench.open(replace(LIVE, sample_rate=16000))
    ready = stream.said[0]
    assert isinstance(ready, Ready)
    assert (ready.wire_rate, ready.model_rate, ready.chunk_ms) == (16000, RATE, 200.0)
    assert ready.delay_ms == pytest.approx(1000 * DELAY / RATE + 5.0)
    stream.send(TEXT)
    bench.run(stream)
    bench.now = 1.5
    stream.session.tick(bench.now)
    stream.take()
    flow = next(message for message in stream.said if isinstance(message, Flow))
    assert flow.received_sample == flow.processed_sample > 0
    assert stream.session.heard_s == flow.received_sample / 16000


def test_a_fault_is_its_own_streams(bench: SpeechBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong with one text ends its stream, and the others of the batch go on."""
    alone = bench.whole(FILE, OTHERS[0]).pcm
    plan = Reading._plan

    def spoiled(self: Reading, sounds: object) -> object:
        if self._written.startswith("Bad"):
            raise KeyError("x")
        return plan(self, sounds)  # type: ignore[arg-type]

    monkeypatch.setattr(Reading, "_plan", spoiled)
    good, bad = bench.open(FILE, 0), bench.open(FILE, 1)
    for stream, text in ((good, OTHERS[0]), (bad, "Bad world.")):
        stream.send(text)
        stream.send(End())
    bench.run(good, bad)
    assert isinstance(bad.session.error, ModelFault)
    assert str(bad.session.error) == "internal error in this stream: KeyError"
    assert good.pcm == alone
