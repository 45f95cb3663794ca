"""Sets of words, written as lines of text so that they can be read."""

from __future__ import annotations


def word_set(*lines: str) -> frozenset[str]:
    """The words of `lines`, which stand apart by spaces."""
    return frozenset(word for line in lines for word in line.split())
