"""The n-gram model and the word model that is told piece by piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.errors import BundleError
from streamer.tasks.lexicon import NEVER, WordModel
from streamer.tasks.ngram import NGramModel
from streamer.tasks.tokens import Vocabulary

WORDS = ["<unk>", "<s>", "ab", "abc", "c"]
PIECES = ("<blk>", "<unk>", "▁a", "▁ab", "b", "bc", "c", "▁c", "▁", "z", "ab")
LETTER = -2.0
# Log-probabilities by hand: unigrams, two bigrams after <s>, one after "ab", one trigram.
UNIGRAMS = [-3.0, -20.0, -1.0, -1.5, -2.0]
BACKOFF = [0.0, -0.5, -0.25, 0.0, 0.0]


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """Nodes: root, five unigrams, bigrams (<s> ab), (<s> c), (ab c), trigram (<s> ab c)."""
    return {
        "words": np.array([-1, 0, 1, 2, 3, 4, 2, 4, 4, 4]),
        "logp": np.array([0.0, *UNIGRAMS, -0.7, -0.9, -0.4, -0.1]),
        "backoff": np.array([0.0, *BACKOFF, -0.125, 0.0, 0.0]),
        "fanout": np.array([5, 0, 2, 1, 0, 0, 1, 0, 0]),
        **changes,
    }


def ngrams(folder: Path, **changes: np.ndarray) -> NGramModel:
    np.savez(folder / "ngrams.npz", **arrays(**changes))
    return NGramModel.load(folder / "ngrams.npz")


def word_model(folder: Path) -> WordModel:
    return WordModel(WORDS, ngrams(folder), Vocabulary(PIECES))


def spelt(model: WordModel, *pieces: str) -> float:
    """The score of a whole text, token by token."""
    state, total = model.start, 0.0
    for piece in pieces:
        scores, states = model.row(state)
        token = PIECES.index(piece)
        total, state = total + float(scores[token]), int(states[token])
    return total + model.finish(state)


def test_n_grams_back_off(tmp_path: Path) -> None:
    """The longest known context counts; each one that is given up costs its weight."""
    model = ngrams(tmp_path)
    logp, state = model.score(model.start, 2)
    assert logp == pytest.approx(-0.7)
    assert model.score(state, 4)[0] == pytest.approx(-0.1)
    # (<s> ab) abc: neither the trigram nor (ab abc) is known.
    assert model.score(state, 3)[0] == pytest.approx(-0.125 - 0.25 - 1.5)
    assert model.score(model.start, 3)[0] == pytest.approx(-0.5 - 1.5)


def test_a_context_that_nothing_follows_is_not_kept(tmp_path: Path) -> None:
    """After (<s> c), of which no trigram is known, the state is that of any other c."""
    model = ngrams(tmp_path)
    assert model.score(model.start, 4)[1] == model.score(0, 4)[1]


@pytest.mark.parametrize(
    ("pieces", "score"),
    [
        (["▁ab"], -0.7),
        (["▁a", "b"], -0.7),
        (["▁", "ab"], -0.7),
        (["▁ab", "▁c"], -0.7 - 0.1),
        (["▁ab", "c"], -0.5 - 1.5),
        (["▁a", "bc", "▁c"], -0.5 - 1.5 - 2.0),
        # Words that the lexicon lacks: what the n-gram says of unknown words, and two for each letter.
        (["▁a"], -0.5 - 3.0 + LETTER),
        (["▁a", "z"], -0.5 - 3.0 + 2 * LETTER),
        (["▁ab", "z", "z", "▁c"], -0.5 - 3.0 + 4 * LETTER - 2.0),
        ([], 0.0),
    ],
)
def test_a_text_scores_as_its_words_do(tmp_path: Path, pieces: list[str], score: float) -> None:
    """Look-ahead cancels out: the sum over the tokens is the n-gram's score of the words, however they are spelt."""
    assert spelt(word_model(tmp_path), *pieces) == pytest.approx(score, abs=1e-5)


def test_what_is_ahead_counts_before_the_word_ends(tmp_path: Path) -> None:
    """A token inside a word scores the best word below it, so that a narrow beam does not lose rare words late."""
    model = word_model(tmp_path)
    scores, states = model.row(model.start)
    assert scores[PIECES.index("▁a")] == pytest.approx(-1.0)
    inside, _ = model.row(int(states[PIECES.index("▁ab")]))
    assert inside[PIECES.index("c")] == pytest.approx(-1.5 - -1.0)
    assert scores[PIECES.index("<unk>")] == NEVER


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": np.zeros(3)}, "expected one size, got 3 words, 10 probabilities, 10 children"),
        ({"logp": np.full(10, np.nan)}, "expected finite numbers"),
    ],
)
def test_a_damaged_model_is_refused(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    """Arrays that do not fit each other are found when the bundle is loaded."""
    with pytest.raises(BundleError, match=f"^language model ngrams.npz: {message}$"):
        ngrams(tmp_path, **changes)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """Neither a missing file nor other bytes raise anything but `BundleError`."""
    (tmp_path / "ngrams.npz").write_bytes(b"not a zip file")
    for name in ("ngrams.npz", "missing.npz"):
        with pytest.raises(BundleError, match=f"^cannot read the language model {name}: "):
            NGramModel.load(tmp_path / name)
