"""The loop of CosyVoice: ids in pieces, text in blocks, draws, pages and their end."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.cosyvoice.config import Options  # noqa: E402
from models.flow_tts.cosyvoice.export import parameters_of  # noqa: E402
from models.flow_tts.cosyvoice.graphs import parts_of  # noqa: E402
from models.flow_tts.cosyvoice.reference import TorchCalls, pages_of  # noqa: E402
from models.flow_tts.cosyvoice.text_loop import TextLoop, draw  # noqa: E402
from tests.models.cosyvoice_toys import (  # noqa: E402
    CHUNK,
    OPTIONS,
    TOKENS,
    Utterance,
    in_hops,
    stream_of,
    toy_checkpoint,
    toy_lm,
    whole,
)

torch.set_num_threads(1)
VERSIONS = (2, 3)


@pytest.mark.parametrize("version", VERSIONS)
def test_language_model_in_pieces_is_the_whole(version: int) -> None:
    """Ids given in any pieces, over pages of the cache, end in the logits of the whole sequence."""
    checkpoint = toy_checkpoint(version)
    calls = TorchCalls(parts_of(checkpoint, OPTIONS)[:1])
    ids = torch.randint(70, (1, 150))
    expected = toy_lm(version)(ids)[0]
    given = 0
    for piece in (1, 70, 5, 1, 1, 60, 12):
        cells = np.array([*range(-(-given // 64)), -1])
        row = {"ids": ids[0, given : given + piece].numpy(), "cells": cells}
        logits = calls("lm_step", row, given == 0)["logits"]
        given += piece
        np.testing.assert_allclose(logits, expected[given - 1], atol=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_streamed_text_is_interleaved_in_blocks(version: int) -> None:
    """What the model is given: start, then five of text and fifteen of speech, then the rest, the task and speech."""
    checkpoint = toy_checkpoint(version)
    parameters, ids = parameters_of(checkpoint, OPTIONS), checkpoint.ids
    calls, given = TorchCalls(parts_of(checkpoint, OPTIONS)[:1]), []

    def noted(graph: str, row: dict[str, np.ndarray], start: bool) -> dict[str, np.ndarray]:
        given.extend(row["ids"].tolist())
        return calls(graph, row, start)

    loop = TextLoop(noted, parameters, prompt_text=[1, 2, 3, 4, 5, 6, 7], prompt_speech=list(range(20)), seed=1)
    said = [*loop.push([8, 9]), *loop.push([10, 11, 12]), *loop.push([13]), *loop.finish()]
    speech = [ids.speech + token for token in said]
    prompt = [ids.speech + token for token in range(20)]
    # The second block begins with what is left of the prompt's speech; twelve texts more are two blocks.
    expected = [
        ids.start,
        1,
        2,
        3,
        4,
        5,
        *prompt[:15],
        6,
        7,
        8,
        9,
        10,
        *prompt[15:],
        *speech[:10],
        11,
        12,
        13,
        ids.task,
    ]
    assert given[: len(expected)] == expected
    rest = speech[10:]
    assert given[len(expected) :] in (rest, rest[:-1])
    assert 2 * 6 <= len(said) <= 20 * 6
    assert all(0 <= token < TOKENS for token in said)


def test_known_text_goes_before_all_speech() -> None:
    """`start, text, task, speech`, the prompt's text and speech first; a full cache is refused."""
    checkpoint = toy_checkpoint(2)
    parameters, given = parameters_of(checkpoint, OPTIONS), []
    calls = TorchCalls(parts_of(checkpoint, OPTIONS)[:1])

    def noted(graph: str, row: dict[str, np.ndarray], start: bool) -> dict[str, np.ndarray]:
        given.extend(row["ids"].tolist())
        return calls(graph, row, start)

    said = list(TextLoop(noted, parameters, [1, 2], [3, 4]).speak([5, 6]))
    assert given[:8] == [73, 1, 2, 5, 6, 74, 43, 44]
    assert 4 <= len(said) <= 40
    with pytest.raises(ValueError, match=r"^expected at most 256 ids of text and speech, got more$"):
        list(TextLoop(calls, parameters).speak([1] * 300))


def test_draws_avoid_repetition() -> None:
    """A pick among the likeliest that was said lately is drawn again, of all others."""
    rng, parameters = np.random.default_rng(0), {"top_p": 0.8, "top_k": 25, "win_size": 10, "tau_r": 0.1}
    logits = np.log(np.array([0.9, 0.06, 0.04], np.float32))
    assert {draw(logits, [], rng, parameters) for _ in range(50)} == {0}
    assert {draw(logits, [0, *[2] * 9], rng, parameters) for _ in range(50)} == {1, 2}
    assert {draw(logits, [0, *[2] * 10], rng, parameters) for _ in range(50)} == {0}


def test_pages_are_kept_until_there_are_no_more() -> None:
    """Then the prompt's stay, and the oldest of the others goes, in the order of time."""
    assert [pages_of(chunk, 4) for chunk in range(4)] == [([], 0), ([0], 1), ([0, 1], 2), ([0, 1, 2], 3)]
    assert pages_of(4, 4) == ([1, 2, 3], 0)
    assert pages_of(6, 4) == ([3, 0, 1], 2)
    assert pages_of(4, 4, kept=1) == ([0, 2, 3], 1)
    assert pages_of(5, 4, kept=1) == ([0, 3, 1], 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_beyond_its_pages_a_stream_is_refused_or_slides(version: int) -> None:
    """Without sliding there is an error; with it the sound goes on, equal up to there and other after it."""
    utterance = Utterance.drawn(5, version, prompt=7, tokens=33)
    few = Options(chunk=CHUNK, pages=4, cells=256)
    with pytest.raises(ValueError, match=r"^expected at most 4 chunks of prompt and speech, got more$"):
        in_hops(stream_of(version, utterance, few), utterance.tokens, [40])
    _, pcm = whole(toy_checkpoint(version), utterance)
    said = np.concatenate(in_hops(stream_of(version, utterance, few, slide=True), utterance.tokens, [40]))
    assert said.shape == pcm.shape
    # Four chunks less the prompt's seven tokens, less what the vocoder looks ahead.
    exact = (2 * (20 - 7) - {2: 22, 3: 5}[version]) * 480
    np.testing.assert_allclose(said[:exact], pcm[:exact], atol=2e-4)
    assert np.abs(said - pcm).max() > 1e-3
