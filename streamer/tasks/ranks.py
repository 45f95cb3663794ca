"""The byte-level vocabulary of a recogniser, as the rank files of tiktoken write it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from streamer.errors import BundleError

SUFFIX = ".tiktoken"


@dataclass(frozen=True, slots=True)
class ByteVocabulary:
    """The bytes of each token id, which may be a part of a character; ids beyond `pieces` are special.

    Implements `streamer.tasks.tokens.Writing`. Pieces that begin a word begin with its space.
    """

    pieces: tuple[bytes, ...]

    def has_text(self, token: int) -> bool:
        """Whether `token` stands for text: all that the file lists do, but an empty piece."""
        return 0 <= token < len(self.pieces) and bool(self.pieces[token])

    def __contains__(self, token: int) -> bool:
        return 0 <= token < len(self.pieces)

    def starts_word(self, token: int) -> bool:
        """Whether a new word begins with `token`: a leading space, or a script that is written without spaces."""
        piece = self.pieces[token]
        return piece.startswith(b" ") or _is_unspaced(piece)

    def goes_on(self, token: int) -> bool:
        """No piece says that its word is not over."""
        return False

    def is_spaced(self, token: int) -> bool:
        """Whether a space comes before the word that `token` begins."""
        return self.pieces[token].startswith(b" ")

    def raw_text(self, token: int) -> bytes:
        """Return the bytes of `token` without the space that begins a word."""
        return self.pieces[token].removeprefix(b" ")


def _is_unspaced(piece: bytes) -> bool:
    """Whether `piece` begins with kana or Han, or the first bytes of one: U+3041 to U+30FF, U+3400 to U+9FFF."""
    first = piece[0] if piece else 0
    if first != 0xE3:
        return 0xE4 <= first <= 0xE9
    # Without its second byte, U+3000 to U+3FFF may be punctuation, which goes with the word before.
    return len(piece) > 1 and (0x81 <= piece[1] <= 0x83 or piece[1] >= 0x90)


def read_ranks(path: Path) -> ByteVocabulary:
    """Read a rank file: a line is the base64 of a piece, a space and its id; ids count from 0 without gaps.

    Raises `BundleError` naming the line that is not of this form.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BundleError(f"cannot read {path.name}: {error.strerror}") from None
    pieces: dict[int, bytes] = {}
    for number, line in enumerate(lines, start=1):
        if line:
            rank, piece = _parse(path.name, number, line)
            if rank in pieces:
                raise BundleError(f"{path.name} line {number}: id {rank} is listed twice")
            pieces[rank] = piece
    if not pieces:
        raise BundleError(f"{path.name} lists no tokens")
    if max(pieces) != len(pieces) - 1:
        raise BundleError(f"{path.name}: expected ids from 0 to {len(pieces) - 1}, got {max(pieces)}")
    return ByteVocabulary(tuple(pieces[rank] for rank in range(len(pieces))))


def _parse(name: str, number: int, line: bytes) -> tuple[int, bytes]:
    fields = line.split()
    try:
        encoded, rank = fields
        # The empty piece, which some files list, is a lone padding.
        piece = b"" if encoded == b"=" else base64.b64decode(encoded, validate=True)
        if rank.isdigit() and len(rank) < 9:
            return int(rank), piece
    except (ValueError, binascii.Error):
        pass
    raise BundleError(f"{name} line {number}: expected `base64 id`, got {line.decode('ascii', 'replace')!r:.60}")
