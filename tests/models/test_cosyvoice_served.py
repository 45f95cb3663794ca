"""Imported CosyVoice 2 and 3 as the server speaks them: tokens and samples of the plain loop.

The loop runs over the same graphs; `test_cosyvoice_bundle.py` compares these with torch and the whole models."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.bundle_writer import write_graph  # noqa: E402
from models.flow_tts.cosyvoice.export import upstream_noise_rows  # noqa: E402
from models.flow_tts.cosyvoice.graphs import inputs_of, parts_of  # noqa: E402
from models.flow_tts.cosyvoice.noise import Noise, Seeded, Upstream  # noqa: E402
from models.flow_tts.cosyvoice.reference import Prompt, Synthesis  # noqa: E402
from models.flow_tts.cosyvoice.text_loop import TextLoop  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from streamer.session.messages import Done, End, Interrupt  # noqa: E402
from streamer.tasks.token_drawing import utterance_seed  # noqa: E402
from tests.engine.support import runner_of  # noqa: E402
from tests.models.conftest import Once  # noqa: E402
from tests.models.cosyvoice_bundles import VOICES, EngineCalls, checkpoint_of, voice, write_toy  # noqa: E402
from tests.models.cosyvoice_text import oracle  # noqa: E402
from tests.models.cosyvoice_toys import CHUNK, OPTIONS, TOKENS  # noqa: E402
from tests.session.speech_driver import FILE, SpeechBench, speaking  # noqa: E402
from tests.toys.bundle import edit_manifest  # noqa: E402

torch.set_num_threads(1)
RATE, SEED = 24_000, 8
CONFIG = replace(FILE, sample_rate=RATE)
TEXT = "Hello world. Two wörld"
SENTENCES = ("Hello world.", " Two wörld")
# As many ids as an utterance may have.
LONG = " Hello hooray ho"


class Drawn(TextLoop):
    """The plain loop, with the server's numbers for each token."""

    def _drawn(self, logits: np.ndarray, may_end: bool) -> int:
        key, counter = self.seed | 2 << 64, len(self._said) << 64
        self._rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
        return super()._drawn(logits, may_end)


class Plain:
    """What the plain loop says over the graphs of a bundle, in an engine of its own."""

    def __init__(self, folder: Path) -> None:
        bundle = load_bundle(folder)
        self.has_noise = "flow_noise" in bundle.manifest.task.assets
        self.parameters = bundle.manifest.task.parameters
        # Pitch is a steep function of the mel in the toys of version 2: see `test_cosyvoice_bundle.py`.
        self.near = 5e-4 if self.parameters["vocoder"] == "window" else 1e-4
        self.voices = {name: voice(tokens) for name, tokens in VOICES.items()}
        self._calls = EngineCalls(runner_of(bundle), 0)

    def tokens(self, sentence: str, seed: int, in_blocks: bool, name: str) -> list[int]:
        """Tokens of one utterance."""
        prompt, ids = self.voices[name], oracle().encode(sentence)
        loop = Drawn(self._calls, self.parameters, prompt["text"].tolist(), prompt["tokens"].tolist(), seed)
        return [*loop.push(ids), *loop.finish()] if in_blocks else [*loop.speak(ids)]

    def samples(self, tokens: Sequence[int], seed: int, name: str) -> np.ndarray:
        """Samples of one utterance."""
        prompt = self.voices[name]
        heard = Prompt(prompt["tokens"], prompt["mel"], prompt["speaker"])
        synthesis = Synthesis(self._calls, self.parameters, heard, self._noise(seed), slide=True)
        return np.concatenate([*(synthesis.push([token]) for token in tokens), synthesis.finish()])

    def said(
        self, seed: int, in_blocks: bool, name: str = "ada", sentences: Sequence[str] = SENTENCES
    ) -> tuple[list[list[int]], np.ndarray]:
        """Tokens and samples of a stream of such utterances."""
        seeds = [utterance_seed(seed, number) for number in range(len(sentences))]
        tokens = [self.tokens(text, at, in_blocks, name) for text, at in zip(sentences, seeds, strict=True)]
        return tokens, np.concatenate([self.samples(*each, name) for each in zip(tokens, seeds, strict=True)])

    def _noise(self, seed: int) -> Noise:
        kind, harmonics = self.parameters["source_noise_kind"], self.parameters["harmonics"]
        if self.has_noise:
            return Upstream(upstream_noise_rows(), seed, kind, harmonics)
        return Seeded(seed, kind, harmonics)


@pytest.fixture(scope="module", params=[2, 3])
def folder(request: pytest.FixtureRequest, once: Once) -> Path:
    return once(f"cosyvoice-{request.param}", partial(write_toy, request.param)) / "toy"


@pytest.fixture(scope="module")
def plain(folder: Path) -> Plain:
    return Plain(folder)


@pytest.fixture(scope="module")
def bench(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("bench"), lambda _: folder)


@pytest.mark.parametrize("pieces", ["clauses", "words"])
def test_a_stream_is_the_plain_loop(plain: Plain, bench: SpeechBench, drawn: dict[int, list[int]], pieces: str) -> None:
    """The same tokens, and their samples; one utterance for each sentence, a prompt before each."""
    stream = bench.whole(speaking(CONFIG, seed=SEED, pieces=pieces, voice="ada"), TEXT)
    assert stream.session.error is None
    tokens, expected = plain.said(SEED, pieces == "words")
    # Ends are drawn too, unless there are as many tokens as there may be.
    assert [[token for token in found if token < TOKENS] for found in drawn.values()] == tokens
    assert min(map(len, tokens)) > CHUNK
    assert stream.said[-1] == Done(len(expected), 0)
    np.testing.assert_allclose(stream.samples, expected, atol=plain.near)
    assert np.abs(expected).max() > 0.01


def test_an_utterance_that_outgrows_the_pages_goes_on(
    folder: Path, drawn: dict[int, list[int]], tmp_path: Path
) -> None:
    """Those of the prompt stay and the oldest other one is forgotten, as the plain loop forgets it."""
    few = tmp_path / "few"
    shutil.copytree(folder, few)
    edit_manifest(few, lambda manifest: manifest["task"]["parameters"].update(pages=6))
    stream = SpeechBench(tmp_path, lambda _: few).whole(speaking(CONFIG, seed=SEED, voice="eve"), LONG)
    plain = Plain(few)
    tokens, expected = plain.said(SEED, False, "eve", [LONG])
    assert VOICES["eve"] + len(tokens[0]) > CHUNK * 6
    assert [[token for token in found if token < TOKENS] for found in drawn.values()] == tokens
    np.testing.assert_allclose(stream.samples, expected, atol=plain.near)


def test_a_text_longer_than_the_cache_goes_on_in_another_utterance(plain: Plain, bench: SpeechBench) -> None:
    """There is room for `LONG`, its tokens and the longest prompt; no id is lost, and a prompt is before each part."""
    stream = bench.whole(speaking(CONFIG, seed=SEED, voice="ada"), LONG + LONG)
    assert stream.session.error is None
    _, expected = plain.said(SEED, False, "ada", [LONG, LONG])
    np.testing.assert_allclose(stream.samples, expected, atol=plain.near)


@pytest.fixture(scope="module")
def prefix(once: Once, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle with caches, and it with a flow that has none."""
    cached, folder = once("cosyvoice-3", partial(write_toy, 3)) / "toy", tmp_path_factory.mktemp("prefix") / "toy"
    shutil.copytree(cached, folder)
    parts = parts_of(checkpoint_of(3), replace(OPTIONS, cached=False))
    part = next(part for part in parts if part.name == "flow_step")
    entry = write_graph(folder, part.name, part.graph(), list(inputs_of(part, 0).values()), {}, free=part.free)

    def change(manifest: dict[str, Any]) -> None:
        manifest["graphs"] = [entry if graph["name"] == part.name else graph for graph in manifest["graphs"]]
        manifest["states"] = [state for state in manifest["states"] if state["group"] != "flow"]
        manifest["references"] = []
        manifest["task"]["parameters"]["flow"] = "prefix"
        for role in ("flow_pages", "flow_page", "frame"):
            del manifest["task"]["roles"][role]

    edit_manifest(folder, change)
    return cached, folder


def test_a_flow_without_caches_says_the_same(prefix: tuple[Path, Path], tmp_path: Path) -> None:
    """Over the whole prefix each time; two streams in turn, of other lengths."""
    bench = SpeechBench(tmp_path, lambda _: prefix[1])
    streams = [bench.open(speaking(CONFIG, seed=SEED, voice=name), slot) for slot, name in enumerate(("ada", "ben"))]
    for stream in streams:
        stream.send(TEXT)
        stream.send(End())
        bench.step(stream)
    bench.run(*streams)
    plain = Plain(prefix[0])
    for stream, name in zip(streams, ("ada", "ben"), strict=True):
        assert stream.session.error is None
        np.testing.assert_allclose(stream.samples, plain.said(SEED, False, name)[1], atol=plain.near)


def test_voices_are_their_prompts(plain: Plain, bench: SpeechBench) -> None:
    """The first one is the one of a stream that names none; streams of both run together."""
    streams = [
        bench.open(speaking(CONFIG, seed=SEED, voice=name), slot) for slot, name in enumerate(("", "ada", "ben"))
    ]
    for stream in streams:
        stream.send("Hello")
        stream.send(End())
    bench.run(*streams)
    for stream, name in zip(streams, VOICES, strict=True):
        _, expected = plain.said(SEED, False, name, ["Hello"])
        np.testing.assert_allclose(stream.samples, expected, atol=plain.near)
    assert len({stream.samples[:CHUNK].tobytes() for stream in streams}) == 3


def test_a_text_that_is_interrupted_leaves_nothing(plain: Plain, bench: SpeechBench) -> None:
    """What comes next is a new stream's, in states that are full of the old one."""
    stream = bench.open(speaking(CONFIG, seed=SEED, pieces="words", voice="ada"))
    stream.send("Hello world, hello world, hello world, hello world")
    for _ in range(12):
        bench.step(stream)
    stream.send(Interrupt("a"))
    before = len(stream.samples)
    assert before > 0
    stream.send("Hello")
    stream.send(End())
    bench.run(stream)
    np.testing.assert_allclose(stream.samples[before:], plain.said(SEED, True, "ada", ["Hello"])[1], atol=plain.near)
