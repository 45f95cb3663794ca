"""Modified beam search against brute force over all alignments."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest

from streamer.tasks.beam import Beam, Search, Weighted

BLANK, VOCABULARY, CONTEXT = 0, 4, [-1, 0]


def joint(frame: np.ndarray, contexts: np.ndarray) -> np.ndarray:
    """Log-probabilities [K, V] that depend on the frame and on the last two tokens, like a stateless predictor's."""
    shift = np.stack([np.roll(frame, last) + 0.3 * before for before, last in contexts])
    logits = shift + np.sin(np.arange(VOCABULARY) * (1 + contexts.sum(1, keepdims=True)))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


class Likes:
    """A scorer that likes a token after another, and remembers the last one."""

    start = 0

    def row(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        return np.cos(np.arange(VOCABULARY) + 3.0 * state).astype(np.float32), np.arange(VOCABULARY)

    def finish(self, state: int) -> float:
        return -0.1 * state


def brute_force(frames: np.ndarray, scorers: list[Weighted], bonus: float) -> dict[tuple[int, ...], float]:
    """Score of every text: the sum over its alignments, and what the scorers add once."""
    acoustic: dict[tuple[int, ...], float] = defaultdict(lambda: -np.inf)
    for path in itertools.product(range(VOCABULARY), repeat=len(frames)):
        context, total = np.array([CONTEXT]), 0.0
        for frame, token in zip(frames, path, strict=True):
            total += float(joint(frame, context)[0, token])
            context = context if token == BLANK else np.array([[context[0, 1], token]])
        text = tuple(token for token in path if token != BLANK)
        acoustic[text] = float(np.logaddexp(acoustic[text], total))
    return {text: score + outside(text, scorers, bonus) for text, score in acoustic.items()}


def outside(text: tuple[int, ...], scorers: list[Weighted], bonus: float) -> float:
    total = bonus * len(text)
    for each in scorers:
        state = each.scorer.start
        for token in text:
            scores, states = each.scorer.row(state)
            total += each.scale * float(scores[token])
            state = int(states[token])
        total += each.scale * each.scorer.finish(state)
    return total


def searched(
    frames: np.ndarray, width: int, scorers: list[Weighted], bonus: float = 0.0
) -> dict[tuple[int, ...], float]:
    """Texts and scores of the beam after `frames`."""
    search = Search(width, BLANK, (), bonus)
    beam, texts = Beam.start(CONTEXT, [each.scorer.start for each in scorers]), [()]
    for frame in frames:
        news = search.advance(beam, joint(frame, beam.contexts), scorers)
        texts = [
            texts[parent] if token == BLANK else (*texts[parent], int(token))
            for parent, token in zip(news.parents, news.tokens, strict=True)
        ]
        beam = news.beam
    return dict(zip(texts, beam.totals(scorers), strict=True))


@pytest.mark.parametrize("with_scorer", [False, True])
def test_a_wide_beam_is_exact(with_scorer: bool) -> None:
    """A beam that drops nothing finds every text, with the probability of all its alignments."""
    frames = np.random.default_rng(0).standard_normal((4, VOCABULARY)) * 2
    scorers = [Weighted(Likes(), 0.7)] if with_scorer else []
    found, expected = searched(frames, 400, scorers, 0.2), brute_force(frames, scorers, 0.2)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[text] for text in expected], list(expected.values()), atol=1e-9)


def test_a_narrow_beam_keeps_the_best() -> None:
    """Four hypotheses find the best of all texts on most random input, and never more than four are kept."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(20):
        frames = rng.standard_normal((4, VOCABULARY)) * 2
        found, expected = searched(frames, 4, []), brute_force(frames, [], 0.0)
        assert len(found) <= 4
        hits += max(found, key=found.__getitem__) == max(expected, key=expected.__getitem__)
    assert hits >= 17


def test_one_hypothesis_is_greedy_search() -> None:
    """A beam of one takes the best token of every frame."""
    frames = np.random.default_rng(2).standard_normal((30, VOCABULARY)) * 2
    context, greedy = np.array([CONTEXT]), []
    for frame in frames:
        token = int(joint(frame, context).argmax())
        if token != BLANK:
            greedy.append(token)
            context = np.array([[context[0, 1], token]])
    assert list(searched(frames, 1, [])) == [tuple(greedy)]


def test_forbidden_tokens_never_appear() -> None:
    """A token without text is left out even if the model likes it best."""
    search, beam = Search(4, BLANK, (2,)), Beam.start(CONTEXT, [])
    for _ in range(5):
        log_probs = np.log(np.tile([0.1, 0.1, 0.7, 0.1], (len(beam), 1)))
        news = search.advance(beam, log_probs, [])
        assert 2 not in news.tokens
        beam = news.beam


def test_a_beam_survives_json() -> None:
    """What is written down as lists comes back bit for bit, keys of 64 bits included."""
    scorers, frames = [Weighted(Likes(), 0.5)], np.random.default_rng(3).standard_normal((6, VOCABULARY))
    beam = Beam.start(CONTEXT, [0])
    for frame in frames:
        beam = Search(3, BLANK).advance(beam, joint(frame, beam.contexts), scorers).beam
    again = Beam.of_plain(beam.plain())
    for name in Beam.__slots__:
        np.testing.assert_array_equal(getattr(again, name), getattr(beam, name))
        assert getattr(again, name).dtype == getattr(beam, name).dtype


def test_merging_adds_probabilities_of_equal_texts() -> None:
    """Two frames that each say the token with probability a half say it once with a half, whichever frame it was."""
    log_half = np.log(np.array([[0.5, 0.5, 1e-12, 1e-12]]))
    beam, search = Beam.start(CONTEXT, []), Search(4, BLANK)
    for _ in range(2):
        beam = search.advance(beam, np.repeat(log_half, len(beam), 0), []).beam
    assert len(np.unique(beam.keys)) == len(beam)
    np.testing.assert_allclose(np.exp(beam.acoustic[0]), 0.5, rtol=1e-6)
