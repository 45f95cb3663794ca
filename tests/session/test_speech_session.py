"""Streams of text: what is said does not depend on how text came, how it was stepped, or who else was there."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from streamer.audio.pcm import decode, encode
from streamer.audio.resample import Resampler
from streamer.errors import ModelFault
from streamer.session.messages import (
    AudioOut,
    Done,
    End,
    Spoken,
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
