"""Streams of a voice of tokens: what is said does not depend on how text came, how it was stepped, or who was there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from streamer.errors import InvalidRequest, ModelFault
from streamer.session.messages import Done, End, Finalize, Finalized, Interrupt
from streamer.session.session import SessionSettings
from streamer.tasks.text.spoken import BEGIN, GAP
from streamer.tasks.token_text import Composer, Scripts
from tests.session.speech_driver import FILE, LIVE, SpeechBench, SpeechStream, speaking
from tests.toys.token_voice import MOST_TEXT, TOKEN_SAMPLES, token_voice_expected, tokens_of, write_token_voice
from tests.toys.voice import IDS, RATE, SYMBOLS, spelled

TEXT = "Hello, world. Two zorks cost $3.50, good morning! One more"
OTHERS = ("Good morning.", "One, two, three: hello world!", "Three worlds; one morning - two hellos.", "A zork.")
HELLO = ("^", "HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", ".")
ZORK = ("^", "W", "AH1", "N", "_", *spelled("zork"), "!")
# Of one sentence, and of more symbols than an utterance has.
LONG = "one two three good morning hello world, " * 12


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("voice"), write_token_voice)


@pytest.fixture(autouse=True)
def _clock(bench: SpeechBench) -> None:
    bench.now, bench.settings = 0.0, SessionSettings()


def random_cuts(text: str, dice: np.random.Generator) -> list[str]:
    places = sorted(dice.integers(0, len(text) + 1, dice.integers(0, 12)).tolist())
    return [text[first:last] for first, last in itertools.pairwise([0, *places, len(text)])]


@pytest.mark.parametrize("pieces", ["clauses", "words"])
def test_what_is_said_can_be_worked_out(bench: SpeechBench, pieces: str) -> None:
    """An utterance for each sentence, an unknown word spelled by the model, the encoder's pages used more than once."""
    stream = bench.whole(speaking(pieces=pieces, seed=5), "Hello, world. One zork!")
    expected = token_voice_expected([HELLO, ZORK], 5, in_blocks=pieces == "words")
    assert stream.said[-1] == Done(len(expected), 0)
    np.testing.assert_array_equal(stream.samples, expected)
    assert len(expected) > 30 * TOKEN_SAMPLES


def test_known_text_is_said_otherwise_than_text_that_arrives(bench: SpeechBench) -> None:
    """The client chooses, and nothing else: not whether all of it was there at once."""
    seeds = range(3)
    assert [tokens_of(HELLO, seed, True) for seed in seeds] != [tokens_of(HELLO, seed, False) for seed in seeds]
    for pieces in ("clauses", "words"):
        slow = bench.open(speaking(pieces=pieces))
        for letter in TEXT:
            slow.send(letter)
            bench.run(slow)
        slow.send(End())
        bench.run(slow)
        fast = bench.open(speaking(pieces=pieces))
        fast.send(TEXT)
        fast.send(End())
        bench.run(fast)
        assert fast.pcm == slow.pcm


@pytest.mark.parametrize("pieces", ["clauses", "words"])
def test_any_partition_of_the_text(bench: SpeechBench, pieces: str) -> None:
    """Messages cut anywhere, stepped as they come or all at once: the same bytes."""
    whole = bench.whole(speaking(pieces=pieces), TEXT)
    dice = np.random.default_rng(1)
    for parts in (random_cuts(TEXT, dice) for _ in range(5)):
        assert bench.whole(speaking(pieces=pieces), *parts).pcm == whole.pcm, parts
    assert len(whole.pcm) > 4 * RATE


def test_together_as_alone(bench: SpeechBench) -> None:
    """Streams of other texts, seeds, pieces and modes in one batch; each says what it says alone."""
    configs = [speaking(seed=3), speaking(pieces="words"), speaking(LIVE, seed=4, temperature=0.0), speaking()]
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


def test_a_sentence_is_said_without_waiting_for_the_next(bench: SpeechBench) -> None:
    """To its last sample, whichever way; of a sentence that is not complete what was read in words alone."""
    for pieces in ("clauses", "words"):
        stream = bench.open(speaking(pieces=pieces))
        stream.send("Hello, world. ")
        bench.run(stream)
        np.testing.assert_array_equal(stream.samples, token_voice_expected([HELLO], in_blocks=pieces == "words"))
        before = len(stream.samples)
        stream.send("one two three good morning hello world one ")
        bench.run(stream)
        assert (len(stream.samples) > before) == (pieces == "words")


@pytest.mark.parametrize("is_out", [False, True])
def test_an_interrupt_leaves_nothing(bench: SpeechBench, is_out: bool) -> None:
    """Not even of the step that is out: what comes next is spoken as in a new stream, in states full of the old one."""
    for steps in range(1, 6):
        stream = bench.open(speaking(LIVE, pieces="words", seed=9))
        stream.send(LONG)
        for _ in range(steps):
            bench.step(stream)
        step = stream.session.next_step(0.0) if is_out else None
        stream.send(Interrupt("a"))
        if step is not None:
            bench.finish([(stream, step)])
        before = len(stream.samples)
        stream.send("Hello, world. One zork!")
        stream.send(End())
        bench.now = 60.0
        while not stream.session.closed:
            bench.step(stream)
            bench.now += 1.0
        expected = token_voice_expected([HELLO, ZORK], 9, in_blocks=True)
        np.testing.assert_array_equal(stream.samples[before:], expected)
        bench.now = 0.0


def test_after_a_flush_it_goes_on(bench: SpeechBench) -> None:
    """After as much silence as resampling may hold back, once; utterances count on."""
    pause = np.zeros(40, np.float32)
    for first in ("Hello, world", "Hello, world. "):
        stream = bench.open(FILE)
        for message in (first, Finalize("a"), Finalize("b"), "One zork!", End()):
            stream.send(message)
            bench.run(stream)
        expected = [token_voice_expected([HELLO]), pause, token_voice_expected([ZORK], first=1)]
        np.testing.assert_array_equal(stream.samples, np.concatenate(expected))
        samples = [message.sample for message in stream.said if isinstance(message, Finalized)]
        assert samples == [len(expected[0]) + len(pause)] * 2


def test_nothing_to_say_is_nothing_said(bench: SpeechBench) -> None:
    """Blanks and punctuation are no words."""
    stream = bench.open(FILE)
    for message in (" ... ", Finalize("a"), "-", End()):
        stream.send(message)
        bench.run(stream)
    assert stream.said[-1] == Done(0, 0)


@pytest.mark.parametrize("pieces", ["clauses", "words"])
def test_a_text_longer_than_the_cache_goes_on_in_another_utterance(
    bench: SpeechBench, monkeypatch: pytest.MonkeyPatch, pieces: str
) -> None:
    """None has more symbols than there is room for, none of them is lost, and there is no error."""
    noted: list[tuple[Sequence[int], Scripts]] = []
    add = Composer.add

    def noting(self: Composer, scripts: Scripts, piece: Sequence[int], ends_sentence: bool) -> Scripts:
        noted.append((piece, add(self, scripts, piece, ends_sentence)))
        return noted[-1][1]

    monkeypatch.setattr(Composer, "add", noting)
    stream = bench.whole(speaking(pieces=pieces), LONG)
    assert stream.session.error is None
    utterances = [script.ids for _, scripts in noted for script in scripts]
    assert max(map(len, utterances)) <= MOST_TEXT
    # Each is noted once for every piece that it grew by.
    found = [ids for ids, after in itertools.pairwise([*utterances, ()]) if after[: len(ids)] != ids]
    assert len(found) > 3
    names = [[SYMBOLS[number] for number in ids] for ids in found]
    np.testing.assert_array_equal(stream.samples, token_voice_expected(names, in_blocks=pieces == "words"))
    seams = (IDS[BEGIN], IDS[GAP])
    said = [number for ids in found for number in ids if number not in seams]
    assert said == [number for piece, _ in noted for number in piece if number not in seams]
    # Where clauses end.
    assert {name[-1] for name in names[:-1]} == {","}


def test_what_tokens_cannot_do_is_refused(bench: SpeechBench) -> None:
    """Before there is a slot."""
    for options, refusal in (
        ({"speed": 1.5}, "synthesis speed: model voice has no other than 1, got 1.5"),
        ({"word_times": True}, "synthesis word_times: model voice knows no times of words, expected false"),
        ({"voice": "eve"}, "synthesis voice: expected one of ada, got 'eve'"),
    ):
        with pytest.raises(InvalidRequest) as error:
            bench.open(speaking(**options))
        assert str(error.value) == refusal


def test_a_fault_is_its_own_streams(bench: SpeechBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong with one text ends its stream, and the others of the batch go on."""
    add = Composer.add

    def spoiled(self: Composer, scripts: Scripts, piece: Sequence[int], ends_sentence: bool) -> Scripts:
        if len(piece) < 5:
            raise KeyError("x")
        return add(self, scripts, piece, ends_sentence)

    monkeypatch.setattr(Composer, "add", spoiled)
    streams: list[SpeechStream] = [bench.open(FILE, slot) for slot in range(2)]
    for stream, text in zip(streams, ("Hello, world.", "Two."), strict=True):
        stream.send(text)
        stream.send(End())
    bench.run(*streams)
    assert isinstance(streams[1].session.error, ModelFault)
    assert str(streams[1].session.error) == "internal error in this stream: KeyError"
    np.testing.assert_array_equal(streams[0].samples, token_voice_expected([HELLO]))
