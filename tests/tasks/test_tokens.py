"""Reading tokens.txt."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import BundleError
from streamer.tasks.tokens import Vocabulary, read_tokens


def vocabulary(tmp_path: Path, text: str) -> Vocabulary:
    path = tmp_path / "tokens.txt"
    path.write_bytes(text.encode())
    return read_tokens(path)


def test_pieces_by_id(tmp_path: Path) -> None:
    """Ids may come in any order and with gaps; a line with only a number is a space."""
    words = vocabulary(tmp_path, "<blk> 0\r\n▁the 3\n4\n\ns\t1\n")
    assert words.pieces == ("<blk>", "s", None, "▁the", "▁")
    assert 3 in words
    assert 2 not in words
    assert 5 not in words
    assert -1 not in words


def test_special_tokens_have_no_text(tmp_path: Path) -> None:
    """Names in angle brackets are not text, byte pieces and single brackets are."""
    words = vocabulary(tmp_path, "<blk> 0\n<unk> 1\n<sos/eos> 2\n<0x41> 3\n< 4\n> 5\n<> 6\n")
    assert [words.has_text(token) for token in range(7)] == [False, False, False, True, True, True, True]


def test_text_of_pieces(tmp_path: Path) -> None:
    """Byte pieces are bytes; the word mark is not part of the text."""
    words = vocabulary(tmp_path, "▁a 0\n<0xC3> 1\nb 2\n▁ 3\n日 4\n")
    assert [words.raw_text(token) for token in range(5)] == [b"a", b"\xc3", b"b", b"", "日".encode()]
    assert [words.starts_word(token) for token in range(5)] == [True, False, False, True, True]
    assert [words.is_spaced(token) for token in (0, 4)] == [True, False]


def test_pieces_may_mark_where_words_go_on(tmp_path: Path) -> None:
    """Without word marks but with pieces that end with `@@`, every other piece ends its word."""
    words = vocabulary(tmp_path, "<blank> 0\nth@@ 1\ning 2\n日 3\n@@ 4\n")
    assert words.marks_ends
    assert [words.goes_on(token) for token in (1, 2, 3)] == [True, False, False]
    assert [words.raw_text(token) for token in (1, 2, 3)] == [b"th", b"ing", "日".encode()]
    assert [words.starts_word(token) for token in (1, 2, 3)] == [True, True, True]


def test_word_marks_come_first(tmp_path: Path) -> None:
    """Where pieces say that they begin words, `@@` is text like any other."""
    words = vocabulary(tmp_path, "▁a 0\nb@@ 1\n")
    assert not words.marks_ends
    assert words.raw_text(1) == b"b@@"
    assert not words.goes_on(1)
    assert not words.starts_word(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 0\nb\n", "tokens.txt line 2: expected `piece id`, got 'b'"),
        ("a b 0\n", "tokens.txt line 1: expected `piece id`, got 'a b 0'"),
        ("a -1\n", "tokens.txt line 1: expected `piece id`, got 'a -1'"),
        ("a 99999999999\n", "tokens.txt line 1: expected `piece id`, got 'a 99999999999'"),
        ("a 0\nb 0\n", "tokens.txt line 2: id 0 is listed twice"),
        ("\n", "tokens.txt lists no tokens"),
    ],
)
def test_refuses_bad_lines(tmp_path: Path, text: str, message: str) -> None:
    """A damaged vocabulary names its line."""
    with pytest.raises(BundleError) as caught:
        vocabulary(tmp_path, text)
    assert str(caught.value) == message


def test_refuses_unreadable_files(tmp_path: Path) -> None:
    """A missing file, and one that is not text."""
    with pytest.raises(BundleError, match=r"^cannot read no.txt: No such file or directory$"):
        read_tokens(tmp_path / "no.txt")
    path = tmp_path / "tokens.txt"
    path.write_bytes(b"\xff\xfe 0\n")
    with pytest.raises(BundleError, match=r"^tokens.txt is not UTF-8: invalid start byte at byte 0$"):
        read_tokens(path)
