"""Byte pairs: which pieces are joined, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.errors import BundleError
from streamer.tasks.token_bpe import BytePairs, parts_of

# As the files write bytes: what cannot be seen stands at U+0100 and after it, in order.
_SEEN = {byte for span in ((33, 127), (161, 173), (174, 256)) for byte in range(*span)}
_HIDDEN = [byte for byte in range(256) if byte not in _SEEN]
BYTES = [chr(byte) if byte in _SEEN else chr(256 + _HIDDEN.index(byte)) for byte in range(256)]
MERGES = ("a b", "c d", "ab cd", "b c", "Ġ a")


def write(folder: Path, vocabulary: object = None, merges: str | None = None) -> tuple[Path, Path]:
    """Single bytes by their numbers, then what is joined."""
    pieces = [*BYTES, *(pair.replace(" ", "") for pair in MERGES)]
    ids = {piece: number for number, piece in enumerate(pieces)} if vocabulary is None else vocabulary
    paths = folder / "vocab.json", folder / "merges.txt"
    paths[0].write_text(json.dumps(ids), encoding="utf-8")
    paths[1].write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n" if merges is None else merges, encoding="utf-8")
    return paths


def test_the_first_pairs_are_joined_first(tmp_path: Path) -> None:
    """Wherever they stand, all of a kind at once, and what came of them again."""
    units = BytePairs.read(*write(tmp_path))
    ab, cd, abcd, bc, blank = range(256, 261)
    assert units.most == blank
    assert units.encode("abcd") == [abcd]
    assert units.encode("abc") == [ab, ord("c")]
    assert units.encode("bcd") == [ord("b"), cd]
    assert units.encode("bcbc") == [bc, bc]
    assert units.encode("abab ab") == [ab, ab, ord(" "), ab]
    assert units.encode(" aa") == [blank, ord("a")]
    assert units.encode("é") == units.encode("e\u0301") == [0xC3, 0xA9]
    assert units.encode("") == []


def test_parts_are_cut_where_kinds_change() -> None:
    """Letters with what is before them, figures one by one, breaks with blanks before, and blanks but for the last."""
    cut = {
        "I'll go": ["I", "'ll", " go"],
        "I'LL": ["I", "'LL"],
        "a12 3": ["a", "1", "2", " ", "3"],
        "so... yes": ["so", "...", " yes"],
        "a   b": ["a", "  ", " b"],
        "a \n\n b ": ["a", " \n\n", " b", " "],
        "(你好)": ["(你好", ")"],
        "a" * 300: ["a" * 256, "a" * 44],
    }
    assert {text: [*parts_of(text)] for text in cut} == cut


@pytest.mark.parametrize(
    ("vocabulary", "merges", "refusal"),
    [
        ([1], None, "vocab.json: expected pieces with their ids, got something else"),
        ({"a": -1}, None, "vocab.json: expected pieces with their ids, got something else"),
        ({"a": True}, None, "vocab.json: expected pieces with their ids, got something else"),
        ({}, None, "vocab.json: expected the piece 'Ā', got none"),
        (None, "a b\nx y\n", "vocab.json: expected the piece 'xy', got none"),
        (None, "a b c\n", "merges.txt: expected two pieces a line, got 'a b c'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, vocabulary: object, merges: str | None, refusal: str) -> None:
    """Each refusal names the file."""
    paths = write(tmp_path, vocabulary, merges)
    with pytest.raises(BundleError) as error:
        BytePairs.read(*paths)
    assert str(error.value) == refusal


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    """No JSON, and no UTF-8."""
    vocabulary, merges = write(tmp_path)
    merges.write_bytes(b"\xff")
    with pytest.raises(BundleError, match=r"^merges.txt: expected text in UTF-8, got other bytes$"):
        BytePairs.read(vocabulary, merges)
    vocabulary.write_bytes(b"[" * 100_000)
    with pytest.raises(BundleError, match=r"^vocab.json: expected JSON, got other bytes$"):
        BytePairs.read(vocabulary, merges)
