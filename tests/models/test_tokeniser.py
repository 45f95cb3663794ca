"""The server's tokeniser writes words as sentencepiece did in training, from `tokens.txt` alone."""

import random
from pathlib import Path

import pytest

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from models.common.text import train_pieces  # noqa: E402
from streamer.tasks.pieces import Tokeniser  # noqa: E402
from streamer.tasks.tokens import read_tokens  # noqa: E402

SYLLABLES = ("ba", "ren", "to", "li", "mon", "ta", "gue", "s", "'s", "ing", "q", "or")


def test_tokens_are_those_of_training(tmp_path: Path) -> None:
    """Two thousand made-up words, seen in training or not, get the same pieces."""
    rng = random.Random(0)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 5))) for _ in range(4000)]
    pieces = train_pieces((" ".join(words[i : i + 8]) for i in range(0, 2000, 8)), tmp_path / "pieces", 80)
    pieces.write_tokens(tmp_path / "tokens.txt")
    tokeniser = Tokeniser(read_tokens(tmp_path / "tokens.txt"))
    for word in words[1000:3000]:
        assert tokeniser.encode(word) == (pieces.encode(word), "")
