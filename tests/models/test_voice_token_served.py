"""The token path's bundle as the server speaks it: tokens and samples of the modules run plainly."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.cosyvoice.text_loop import draw  # noqa: E402
from models.flow_tts.export import LICENCE  # noqa: E402
from models.flow_tts.symbols import IDS  # noqa: E402
from models.flow_tts.tokens import decoding, export  # noqa: E402
from models.flow_tts.tokens.decoding import Speech  # noqa: E402
from models.flow_tts.tokens.layouts import Blocks  # noqa: E402
from models.flow_tts.tokens.streaming import Sound  # noqa: E402
from streamer.session.messages import Done, End, Finalize, Interrupt  # noqa: E402
from streamer.tasks.token_drawing import Sampling, draw_token, utterance_seed  # noqa: E402
from tests.models.token_toys import CHUNK, TOKENS, toy_lm, toy_token_flow  # noqa: E402
from tests.models.voice_toys import toy_vocoder  # noqa: E402
from tests.session.speech_driver import FILE, SpeechBench, speaking  # noqa: E402
from tests.toys.bundle import edit_manifest  # noqa: E402
from tests.toys.voice import LEXICON  # noqa: E402

ABOUT = {"name": "toy-tokens", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}
BLOCKS = Blocks(4, 5)
RATE, SEED = 24_000, 7
CONFIG = replace(FILE, sample_rate=RATE)
TEXT = "Hello, world. One, two, three good morning! Two"
# Utterances are its sentences.
SENTENCES = (
    "^ HH AH0 L OW1 , W ER1 L D .",
    "^ W AH1 N , T UW1 , TH R IY1 _ G UH1 D _ M AO1 R N IH0 NG !",
    "^ T UW1 .",
)


class Toy:
    """The models, their bundle, and what is said of ids of text."""

    def __init__(self, folder: Path) -> None:
        lexicon, card = folder / "lexicon.txt.gz", folder / "card.md"
        lines = "".join(f"{word}\t{phones}\n" for word, phones in sorted(LEXICON.items()))
        lexicon.write_bytes(gzip.compress(lines.encode()))
        card.write_text("A toy.\n", encoding="utf-8")
        (folder / LICENCE).write_text("Free.\n", encoding="utf-8")
        self.lm, self.flow, self.vocoder = toy_lm(small=True), toy_token_flow(small=True), toy_vocoder()
        self.bundle = folder / "toy"
        export.export_bundle(self.lm, BLOCKS, self.flow, self.vocoder, self.bundle, ABOUT, lexicon, card=card)

    def tokens(self, sentence: Sequence[int], seed: int, in_blocks: bool) -> list[int]:
        """Tokens of one utterance."""
        speech = Speech(self.lm, seed, BLOCKS)
        return [*speech.push(sentence), *speech.finish()] if in_blocks else [*speech.speak(sentence)]

    def samples(self, tokens: Sequence[int], seed: int) -> np.ndarray:
        """Samples of one utterance."""
        sound = Sound(self.flow, self.vocoder, seed)
        return np.concatenate([sound.push(tokens), sound.finish()])

    def said(self, sentences: Sequence[str], seed: int, in_blocks: bool) -> tuple[list[list[int]], np.ndarray]:
        """Tokens and samples of a stream of such utterances."""
        seeds = [utterance_seed(seed, number) for number in range(len(sentences))]
        ids = [[IDS[symbol] for symbol in sentence.split()] for sentence in sentences]
        tokens = [self.tokens(text, at, in_blocks) for text, at in zip(ids, seeds, strict=True)]
        return tokens, np.concatenate([self.samples(*each) for each in zip(tokens, seeds, strict=True)])


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def bench(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("bench"), lambda folder: toy.bundle)


@pytest.mark.parametrize("pieces", ["clauses", "words"])
def test_a_stream_is_the_modules_run_plainly(
    toy: Toy, bench: SpeechBench, drawn: dict[int, list[int]], pieces: str
) -> None:
    """The same tokens, and their samples; one utterance for each sentence."""
    stream = bench.whole(speaking(CONFIG, seed=SEED, pieces=pieces), TEXT)
    assert stream.session.error is None
    tokens, expected = toy.said(SENTENCES, SEED, pieces == "words")
    # Ends are drawn too, unless there are as many tokens as there may be.
    assert [[token for token in found if token < TOKENS] for found in drawn.values()] == tokens
    assert stream.said[-1] == Done(len(expected), 0)
    np.testing.assert_allclose(stream.samples, expected, atol=1e-4)
    assert np.abs(expected).max() > 0.01


def test_the_ways_differ(toy: Toy) -> None:
    """What is known as a whole is not said as what arrives is, nor as another seed says it."""
    said = [toy.said(SENTENCES, seed, in_blocks)[0] for seed, in_blocks in ((SEED, False), (SEED, True), (8, False))]
    assert said[0] != said[1]
    assert said[0] != said[2]
    assert max(map(len, said[1])) > 2 * CHUNK + 3


def test_a_text_that_is_interrupted_leaves_nothing(toy: Toy, bench: SpeechBench) -> None:
    """Not even if a step was out: what comes next is a new stream's, in caches that are full of the old one."""
    config = speaking(CONFIG, seed=SEED, pieces="words")
    _, expected = toy.said(SENTENCES[:1], SEED, True)
    for is_out in (False, True):
        stream = bench.open(config)
        stream.send("Three three three good morning, one two three")
        for _ in range(4):
            bench.step(stream)
        step = stream.session.next_step(0.0) if is_out else None
        stream.send(Interrupt("a"))
        if step is not None:
            bench.finish([(stream, step)])
        before = len(stream.samples)
        assert before > 0
        stream.send("Hello, world. ")
        stream.send(End())
        bench.run(stream)
        np.testing.assert_allclose(stream.samples[before:], expected, atol=1e-4)


def test_a_stream_goes_on_after_a_flush(toy: Toy, bench: SpeechBench) -> None:
    """With as little silence as resampling holds back; utterances count on."""
    stream = bench.open(speaking(CONFIG, seed=SEED))
    for part in ("Hello, world", Finalize("a"), "One, two, three good morning!", End()):
        stream.send(part)
        bench.run(stream)
    seeds = [utterance_seed(SEED, number) for number in (0, 1)]
    ids = [[IDS[symbol] for symbol in sentence.split()] for sentence in SENTENCES[:2]]
    first, second = (toy.samples(toy.tokens(text, at, False), at) for text, at in zip(ids, seeds, strict=True))
    pause = np.zeros(RATE * 5 // 1000, np.float32)
    np.testing.assert_allclose(stream.samples, np.concatenate([first, pause, second]), atol=1e-4)


def test_an_utterance_that_outgrows_the_encoder_goes_on(toy: Toy, tmp_path: Path) -> None:
    """Its oldest chunk is forgotten, as the plain loop forgets it."""
    folder = tmp_path / "few"
    shutil.copytree(toy.bundle, folder)
    edit_manifest(folder, lambda manifest: manifest["task"]["parameters"].update(pages=3))
    stream = SpeechBench(tmp_path, lambda _: folder).whole(speaking(CONFIG, seed=SEED), TEXT)
    tokens, _ = toy.said(SENTENCES[1:2], utterance_seed(SEED, 1), False)
    assert len(tokens[0]) > 5 * CHUNK
    expected = Sound(toy.flow, toy.vocoder, utterance_seed(SEED, 1), pages=3)
    whole = np.concatenate([expected.push(tokens[0]), expected.finish()])
    first = len(toy.said(SENTENCES[:1], SEED, False)[1])
    np.testing.assert_allclose(stream.samples[first : first + len(whole)], whole, atol=1e-4)


def test_draws_are_those_of_the_plain_loop() -> None:
    """Also where the likeliest of many are found without sorting them all, and where one is drawn again."""
    rng = np.random.default_rng(0)
    plain = {"top_p": 0.8, "top_k": 25, "win_size": 10, "tau_r": 0.1}
    for number in range(300):
        logits = (rng.standard_normal(6561) * rng.choice([0.1, 2.0, 6.0])).astype(np.float32)
        if number % 3 == 0:
            logits = np.round(logits)
        said = [int(token) for token in np.argsort(-logits)[: number % 12]]
        drawing = np.random.Generator(np.random.Philox(key=number | decoding._STREAM << 64, counter=len(said) << 64))
        assert draw_token(logits, said, number, Sampling(0.8, 25, 10, 0.1)) == draw(logits, said, drawing, plain)
