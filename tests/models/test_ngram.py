"""N-gram estimation: proper distributions, and the same figures in the server's trie."""

import random
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from models.common import ngram  # noqa: E402
from models.transducer.language_model import lexicon, report  # noqa: E402
from streamer.tasks.ngram import NGramModel  # noqa: E402

VOCABULARY = 12


def sentences(count: int = 400, seed: int = 0) -> list[list[int]]:
    """Walks over ids 2 to 11 in which the last two steps say what is likely next."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        walk = [rng.randrange(2, VOCABULARY)]
        for _ in range(rng.randrange(1, 9)):
            walk.append(2 + (sum(walk[-2:]) + rng.choice([0, 0, 0, 1, 5])) % (VOCABULARY - 2))
        made.append(walk)
    return made


def probability(model: list[ngram.Estimate], *words: int) -> float:
    packing = ngram.Packing(VOCABULARY, len(model))
    key = np.array([sum(word << packing.bits * place for place, word in enumerate(reversed(words)))])
    return float(np.exp(ngram.score(model, packing, key, len(words))[0]))


@pytest.mark.parametrize("least", [(1, 1, 1), (1, 1, 3)])
def test_probabilities_sum_to_one(least: tuple[int, ...]) -> None:
    """In every context, seen or not, pruned or not, what may follow sums to one."""
    model = ngram.estimate(sentences(), VOCABULARY, 3, least)
    for context in [(), (3,), (ngram.START,), (ngram.START, 4), (5, 6), (7, 7), (11, 2)]:
        total = sum(probability(model, *context, word) for word in range(VOCABULARY))
        assert total == pytest.approx(1.0, abs=1e-5), context


def test_longer_contexts_help() -> None:
    """On text of the same source, the model of three words is less surprised than that of two, and that of one."""
    held_out = sentences(200, seed=1)
    surprise = []
    for order in (1, 2, 3):
        model = ngram.estimate(sentences(), VOCABULARY, order, [1] * order)
        total, words = ngram.log_probability(model, VOCABULARY, held_out)
        surprise.append(-total / words)
    assert surprise[0] > surprise[1] + 0.05 > surprise[2] + 0.1


def test_lower_orders_count_contexts_not_words() -> None:
    """A word that only ever follows one other is unlikely after a third, however often it was seen (Kneser-Ney)."""
    text = [[2, 3]] * 50 + [[other, 4] for other in range(5, 12)] * 2
    model = ngram.estimate(text, VOCABULARY, 2, [1, 1])
    assert probability(model, 2, 3) > 0.9
    assert probability(model, 3) < probability(model, 4)


def test_the_server_reads_the_same_figures(tmp_path: Path) -> None:
    """Whole sentences score alike here and in the server's trie, which stores half precision."""
    model = ngram.estimate(sentences(), VOCABULARY, 3, [1, 1, 2])
    np.savez_compressed(tmp_path / "ngrams.npz", **ngram.trie(model, VOCABULARY))
    served = NGramModel.load(tmp_path / "ngrams.npz")
    for sentence in sentences(50, seed=2):
        state, total = served.start, 0.0
        for word in sentence:
            logp, state = served.score(state, word)
            total += logp
        assert total == pytest.approx(ngram.log_probability(model, VOCABULARY, [sentence])[0], abs=0.02)


def test_the_lexicon_keeps_what_is_seen_often_enough() -> None:
    """Words come by frequency after the two reserved ones; rarer ones count as unknown in the report."""
    words = lexicon(["the cat", "the dog", "the cat"], 2)
    assert words == ["<unk>", "<s>", "the", "cat"]
    model = ngram.estimate([[2, 3], [2, 0], [2, 3]], len(words), 2, [1, 1])
    assert report(model, words, ["the dog"]).startswith("2 words, 50.0 % unknown, perplexity ")


def test_too_many_tokens_for_an_integer_are_refused() -> None:
    """Order and vocabulary have to fit 63 bits."""
    with pytest.raises(ValueError, match="^expected at most 3 tokens of 1048577 in an n-gram, got 4$"):
        ngram.Packing((1 << 20) + 1, 4)
