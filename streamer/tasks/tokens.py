"""The vocabulary of a recogniser, as the `tokens.txt` of k2 and sherpa-onnx writes it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamer.errors import BundleError

WORD_START = "\u2581"
# What the pieces of FunASR's models end with where the word goes on.
GOES_ON = "@@"

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPECIAL = re.compile(r"<[^<>\s]+>")


class Writing(Protocol):
    """How the tokens of a vocabulary become words; see `Vocabulary`."""

    def __contains__(self, token: int) -> bool: ...

    def has_text(self, token: int) -> bool:
        """Whether `token` stands for text."""

    def starts_word(self, token: int) -> bool:
        """Whether a new word begins with `token`."""

    def goes_on(self, token: int) -> bool:
        """Whether the next token belongs to the same word, whatever it is."""

    def is_spaced(self, token: int) -> bool:
        """Whether a space comes before the word that `token` begins."""

    def raw_text(self, token: int) -> bytes:
        """Return the UTF-8 bytes of `token`, which may be a part of a character."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The piece of each token id; `pieces[i]` is None for an id that the file does not list.

    `marks_ends`: no piece says that it begins a word; each ends one unless it ends with `@@`.
    """

    pieces: tuple[str | None, ...]
    marks_ends: bool = False

    def has_text(self, token: int) -> bool:
        """Whether `token` stands for text: it is known and not special (`<blk>`, `<unk>`, `<sos/eos>`, ...)."""
        piece = self.pieces[token]
        return piece is not None and (bool(_BYTE.fullmatch(piece)) or not _SPECIAL.fullmatch(piece))

    def __contains__(self, token: int) -> bool:
        return 0 <= token < len(self.pieces) and self.pieces[token] is not None

    def starts_word(self, token: int) -> bool:
        """Whether a new word begins with `token`: a `\u2581` prefix, or a script that is written without spaces.

        Where pieces mark how words end, any may begin one: `goes_on` of the token before decides.
        """
        piece = self.pieces[token] or ""
        return self.marks_ends or piece.startswith(WORD_START) or _is_unspaced(piece)

    def goes_on(self, token: int) -> bool:
        """Whether the next token belongs to the same word, whatever it is."""
        return self.marks_ends and (self.pieces[token] or "").endswith(GOES_ON)

    def is_spaced(self, token: int) -> bool:
        """Whether a space comes before the word that `token` begins."""
        return not _is_unspaced(self.pieces[token] or "")

    def raw_text(self, token: int) -> bytes:
        """Return the UTF-8 bytes of `token`, which for a byte piece `<0xNN>` may be a part of a character."""
        piece = self.pieces[token] or ""
        byte = _BYTE.fullmatch(piece)
        if byte:
            return bytes([int(byte[1], 16)])
        if self.goes_on(token):
            piece = piece.removesuffix(GOES_ON)
        return piece.removeprefix(WORD_START).replace(WORD_START, " ").encode()


def _is_unspaced(piece: str) -> bool:
    # Kana and Han, the scripts of which each character may stand as a word of its own.
    return bool(piece) and ("\u3041" <= piece[0] <= "\u30ff" or "\u3400" <= piece[0] <= "\u9fff")


def read_tokens(path: Path) -> Vocabulary:
    """Read `tokens.txt`: a line is `piece id`; a line with only a number is the piece of a space.

    Raises `BundleError` naming the line that is not of this form or repeats an id.
    """
    pieces: dict[int, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot read {path.name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BundleError(f"{path.name} is not UTF-8: {error.reason} at byte {error.start}") from None
    # Not splitlines: it would break a line at pieces such as U+2028 and U+0085.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip(" \t\r"):
            token, piece = _parse(path.name, number, line.rstrip("\r"))
            if token in pieces:
                raise BundleError(f"{path.name} line {number}: id {token} is listed twice")
            pieces[token] = piece
    if not pieces:
        raise BundleError(f"{path.name} lists no tokens")
    return Vocabulary(tuple(pieces.get(token) for token in range(max(pieces) + 1)), _marks_ends(pieces.values()))


def _marks_ends(pieces: Collection[str]) -> bool:
    ends = any(piece.endswith(GOES_ON) and piece != GOES_ON for piece in pieces)
    return ends and not any(piece.startswith(WORD_START) for piece in pieces)


def _parse(name: str, number: int, line: str) -> tuple[int, str]:
    fields = re.split(r"[ \t]+", line.strip(" \t"))
    digits = fields[-1]
    if len(fields) > 2 or not digits.isascii() or not digits.isdigit() or int(digits) > 10_000_000:
        raise BundleError(f"{name} line {number}: expected `piece id`, got {line!r:.60}")
    return int(digits), fields[0] if len(fields) == 2 else WORD_START
