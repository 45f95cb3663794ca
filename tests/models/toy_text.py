"""A tiny vocabulary trained on a few sentences."""

from __future__ import annotations

from pathlib import Path

from models.common.text import Pieces, train_pieces

SENTENCES = ("the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs")


def toy_pieces(folder: Path, size: int = 32) -> Pieces:
    return train_pieces(SENTENCES, folder / "pieces", size)
