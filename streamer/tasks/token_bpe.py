"""Text to ids of a language model, by byte-level byte-pair encoding as GPT-2 and Qwen2 have it.

Two files say how: `vocab.json` names the id of every piece, `merges.txt` which pieces are joined, the first ones first.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from streamer.errors import BundleError

# Apostrophes with an ending go by themselves, whatever its case.
_ENDING = re.compile(r"'(?:[sdmt]|re|ve|ll)", re.IGNORECASE | re.ASCII)
# Over kinds of characters: letters and numbers, line breaks, blanks, other space, and all else.
_PARTS = re.compile(r"[ sp]?L+|N| ?p+r*|[ sr]*r+|[ sr]+(?![^ sr])|[ sr]+")
# Longer ones are cut: joining pieces takes time that grows with the square of their number.
_LONGEST = 256


def _characters_of_bytes() -> list[str]:
    """What stands for each byte in the files: itself if it can be seen, otherwise one from U+0100 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = (chr(0x100 + number) for number in range(0x100))
    return [chr(byte) if byte in seen else next(hidden) for byte in range(0x100)]


_BYTES = _characters_of_bytes()


class BytePairs:
    """Encodes text. `ids` are those of pieces, `ranks` of pairs that are joined: lower ones before higher ones."""

    def __init__(self, ids: dict[str, int], ranks: dict[tuple[str, str], int]) -> None:
        self._ids = ids
        self._ranks = ranks
        self._encoded = lru_cache(1 << 14)(self._encode_part)

    @classmethod
    def read(cls, vocabulary: Path, merges: Path) -> BytePairs:
        """Read both files; raises `BundleError`."""
        ids = _read_vocabulary(vocabulary)
        pairs = _read_merges(merges)
        lacking = [piece for piece in (*_BYTES, *("".join(pair) for pair in pairs)) if piece not in ids]
        if lacking:
            raise BundleError(f"{vocabulary.name}: expected the piece {lacking[0]!r:.60}, got none")
        return cls(ids, {pair: rank for rank, pair in enumerate(pairs)})

    @property
    def most(self) -> int:
        """The highest id."""
        return max(self._ids.values())

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`. Nothing in it stands for a special id."""
        return [number for part in parts_of(unicodedata.normalize("NFC", text)) for number in self._encoded(part)]

    def _encode_part(self, part: str) -> tuple[int, ...]:
        pieces = [_BYTES[byte] for byte in part.encode()]
        while len(pieces) > 1:
            pairs = list(itertools.pairwise(pieces))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            pieces = _joined(pieces, best)
        return tuple(self._ids[piece] for piece in pieces)


def parts_of(text: str) -> Iterator[str]:
    """Cut text into parts that are encoded by themselves."""
    kinds = "".join(map(_kind, text))
    place = 0
    while place < len(text):
        found = _ENDING.match(text, place) or _PARTS.match(kinds, place)
        assert found is not None
        for first in range(place, found.end(), _LONGEST):
            yield text[first : min(first + _LONGEST, found.end())]
        place = found.end()


@lru_cache(1 << 12)
def _kind(character: str) -> str:
    if character in "\r\n":
        return "r"
    if character.isspace():
        return " " if character == " " else "s"
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "p"


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    made, place = [], 0
    while place < len(pieces):
        is_pair = tuple(pieces[place : place + 2]) == pair
        made.append("".join(pair) if is_pair else pieces[place])
        place += 2 if is_pair else 1
    return made


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        ids = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise BundleError(f"{path.name}: expected JSON, got other bytes") from None
    if not isinstance(ids, dict) or not all(type(number) is int and number >= 0 for number in ids.values()):
        raise BundleError(f"{path.name}: expected pieces with their ids, got something else")
    return ids


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, ValueError):
        raise BundleError(f"{path.name}: expected text in UTF-8, got other bytes") from None
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if wrong := [pair for pair in pairs if len(pair) != 2]:
        raise BundleError(f"{path.name}: expected two pieces a line, got {' '.join(wrong[0])!r:.60}")
    return [(first, second) for first, second in pairs]
