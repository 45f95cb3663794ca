"""Byte-level vocabularies and the words that their tokens spell."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from streamer.errors import BundleError
from streamer.tasks.ranks import ByteVocabulary, read_ranks
from streamer.tasks.words import Token, group_words, join, spell

PIECES = (b"a", b" the", b"\xe6", b"\x97\xa5", "本".encode(), b"\xc3", b"\xa9", b",", b" ", b"\xe3\x80\x82", b" caf")


def rank_lines(pieces: tuple[bytes, ...]) -> bytes:
    return b"".join(base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(pieces))


def vocabulary(tmp_path: Path, content: bytes) -> ByteVocabulary:
    path = tmp_path / "toy.tiktoken"
    path.write_bytes(content)
    return read_ranks(path)


def test_pieces_by_rank(tmp_path: Path) -> None:
    """Lines may come in any order; what is beyond them is special."""
    words = vocabulary(tmp_path, rank_lines(PIECES))
    assert words.pieces == PIECES
    assert 10 in words
    assert 11 not in words
    assert not words.has_text(11)
    assert -1 not in words


def test_an_empty_piece_has_no_text(tmp_path: Path) -> None:
    """Whisper's multilingual file ends with one, written as a lone `=`."""
    words = vocabulary(tmp_path, b"YQ== 0\n= 1\n")
    assert words.pieces == (b"a", b"")
    assert not words.has_text(1)
    assert not words.starts_word(1)


def test_words_begin_with_a_space_or_in_a_script_without() -> None:
    """Han begins a word of its own even when its bytes come in several pieces; its punctuation does not."""
    words = ByteVocabulary(PIECES)
    starts = [words.starts_word(token) for token in range(len(PIECES))]
    assert starts == [False, True, True, False, True, False, False, False, True, False, True]
    assert [words.is_spaced(token) for token in (1, 2, 8)] == [True, False, True]
    assert words.raw_text(1) == b"the"


def test_characters_may_be_split_over_tokens() -> None:
    """A word is as many characters as its tokens complete, and spaces come where pieces have them."""
    words = ByteVocabulary(PIECES)
    tokens = [Token(token, index, 0.0) for index, token in enumerate((10, 5, 6, 7, 1, 2, 3, 4, 9, 2))]
    assert join(spell(tokens, words, is_final=False)) == "café, the日本。"
    assert join(spell(tokens[:2], words, is_final=False)) == "caf"
    assert join(spell(tokens, words, is_final=True)).endswith("本。\ufffd")


def test_a_token_may_begin_a_word_by_position() -> None:
    """A token that opens what the model decodes anew begins a word, with a space, whatever its piece is."""
    words = ByteVocabulary(PIECES)
    tokens = [Token(1, 0, 0.0), Token(0, 1, 0.0, opens=True)]
    assert len(group_words(tokens, words)) == 2
    assert join(spell(tokens, words, is_final=True)) == "the a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"YQ== 0\nYQ== 0\n", "toy.tiktoken line 2: id 0 is listed twice"),
        (b"YQ== 0\nYg== 2\n", "toy.tiktoken: expected ids from 0 to 1, got 2"),
        (b"YQ== 0 1\n", "toy.tiktoken line 1: expected `base64 id`, got 'YQ== 0 1'"),
        (b"Y!== 0\n", "toy.tiktoken line 1: expected `base64 id`, got 'Y!== 0'"),
        (b"YQ== x\n", "toy.tiktoken line 1: expected `base64 id`, got 'YQ== x'"),
        (b"\n", "toy.tiktoken lists no tokens"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The message names the line."""
    with pytest.raises(BundleError) as error:
        vocabulary(tmp_path, content)
    assert str(error.value) == message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that cannot be read is an error of the bundle."""
    with pytest.raises(BundleError, match="cannot read none.tiktoken: No such file or directory"):
        read_ranks(tmp_path / "none.tiktoken")
