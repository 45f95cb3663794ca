"""A toy of the two files that say how text becomes ids: single bytes and some pieces of words."""

from __future__ import annotations

import json
from pathlib import Path

import tiktoken

# How Qwen2 cuts text before it joins pieces.
_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_JOINED = (
    b"l l",
    b"o r",
    b"or l",
    b"orl d",
    b"H e",
    b"He ll",
    b"Hell o",
    b"\x20 w",
    b"\x20w orld",
    b"o o",
    b"\xc3 \xa4",
)


def _seen(piece: bytes) -> str:
    """As the files write bytes: those that cannot be seen stand at U+0100 and after it, in order."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return "".join(chr(byte) if byte in seen else chr(256 + hidden.index(byte)) for byte in piece)


def _pairs() -> list[tuple[bytes, bytes]]:
    return [(pair[: pair.index(b" ", 1)], pair[pair.index(b" ", 1) + 1 :]) for pair in _JOINED]


TEXTS = 256 + len(_JOINED)
"""How many ids there are."""


def write_units(folder: Path) -> tuple[Path, Path]:
    """Write `vocab.json` and `merges.txt`."""
    pieces = [*(bytes([byte]) for byte in range(256)), *(first + second for first, second in _pairs())]
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({_seen(piece): number for number, piece in enumerate(pieces)}), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{_seen(first)} {_seen(second)}" for first, second in _pairs())]
    merges.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return vocabulary, merges


def oracle() -> tiktoken.Encoding:
    """The same by another implementation, with Qwen2's own cuts."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {first + second: 256 + rank for rank, (first, second) in enumerate(_pairs())}
    return tiktoken.Encoding("toy", pat_str=_CUTS, mergeable_ranks=ranks, special_tokens={})
