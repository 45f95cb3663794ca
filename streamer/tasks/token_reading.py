"""The text of a stream of a voice that reads pieces of words: sentences, or words as they come, and their ids.

Text is taken as it is written: a model of this kind has learned to read figures and many languages by itself.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamer.tasks.speaking import TextReader
from streamer.tasks.synthesis_options import check_text
from streamer.tasks.token_bpe import BytePairs
from streamer.tasks.voice_work import NewPiece, Utterance
from streamer.work import Array

# Ends of sentences: with a blank after them, or in scripts that have none.
_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|[。！？]+[”’』」）]*|\n")  # noqa: RUF001 - they are meant
_WORD_END = re.compile(r"(?<=\S)(?=\s)")
# Where blanks are not written, so many characters are a word; so many are a sentence that does not end.
_LONGEST_WORD, _LONGEST = 16, 200
# So many cuts are tried at a time: there may be nothing but marks.
_CUTS = 64
# What nobody can say.
_SPEAKABLE = re.compile(r"\w")


class Piece(Protocol):
    """A piece of text, see `voice_reading.Reading`."""

    def new_piece(self) -> NewPiece:
        """Return what the program makes symbols of."""


class PieceReader(TextReader, Protocol):
    """Reads the text of one stream in pieces, see `voice_reading.VoiceReader`."""

    @property
    def has_piece(self) -> bool:
        """Whether a piece is complete."""

    @property
    def has_unread(self) -> bool:
        """Whether there may be a piece in what was not read yet."""

    def read(self) -> None:
        """Read on a little, unless a piece is complete."""

    def drop(self) -> None:
        """Forget all that came."""

    def take(self) -> Piece:
        """Return the next piece; there is one."""


@dataclass(frozen=True, slots=True)
class UnitPiece:
    """A piece of text; a sentence ends with it if it `is_end`."""

    text: str
    is_end: bool
    units: BytePairs

    def new_piece(self) -> NewPiece:
        """Return what the program makes ids of."""
        return NewPiece((), self._plan)

    def _plan(self, sounds: Sequence[Array]) -> Utterance:
        ids = self.units.encode(self.text)
        return Utterance(np.array(ids, np.int64), 0, len(ids), self.is_end)


class UnitReader:
    """Reads the text of one stream, see `token_speaking.PieceReader`. A piece keeps the blanks before it."""

    def __init__(self, units: BytePairs, by_words: bool) -> None:
        self._units = units
        self._by_words = by_words
        self._anew()

    def _anew(self) -> None:
        self._unread = ""
        self._pieces: deque[UnitPiece] = deque()
        self._is_finishing = False
        # Reading stopped before it was known that there is no piece.
        self._is_halfway = False
        # A sentence has begun and not ended.
        self._is_within = False

    @property
    def waiting_chars(self) -> int:
        """Characters that came and were not taken in a piece."""
        return len(self._unread) + sum(len(piece.text) for piece in self._pieces)

    @property
    def has_piece(self) -> bool:
        """Whether a piece is complete."""
        return bool(self._pieces)

    @property
    def has_unread(self) -> bool:
        """Whether there may be a piece in what was not read yet."""
        return self._is_finishing or self._is_halfway

    def read(self) -> None:
        """Read on a little, unless a piece is complete."""
        self._is_halfway = False
        for _ in range(_CUTS):
            if self._pieces or not (end := self._cut()):
                break
            self._read_to(end)
        else:
            self._is_halfway = True
            return
        if not self._pieces and self._is_finishing:
            self._is_finishing = self._is_within = False

    def feed(self, text: str) -> None:
        """Take more text; raises `InvalidRequest` for characters that no text holds."""
        check_text(text)
        self._unread += text

    def finish(self) -> None:
        """What came so far is complete."""
        self._is_finishing = True

    def drop(self) -> None:
        """Forget all that came."""
        self._anew()

    def take(self) -> UnitPiece:
        """Return the next piece; there is one."""
        return self._pieces.popleft()

    def _read_to(self, end: int) -> None:
        text, self._unread = self._unread[:end], self._unread[end:]
        # Marks by themselves are of the sentence that they are in, and no sentence.
        if self._is_within or _SPEAKABLE.search(text):
            is_end = not self._by_words or _END.search(text + " ") is not None
            self._pieces.append(UnitPiece(text, is_end, self._units))
            self._is_within = not is_end

    def _cut(self) -> int:
        """Where the next piece ends, 0 if that is not known yet. What follows is looked at, so that no part matters."""
        # No piece is longer, and searching takes time that grows with the square of marks in a row.
        text = self._unread[: _LONGEST + 1]
        ends = [len(text)] if self._is_finishing else []
        found = _END.search(text)
        if found and (found.end() < len(text) or found[0] == "\n"):
            ends.append(found.end())
        if self._by_words:
            ends += [found.start() for found in [_WORD_END.search(text)] if found]
            longest = len(text) - len(text.lstrip()) + _LONGEST_WORD
            ends += [longest] if len(text) > longest else []
        if len(text) > _LONGEST:
            ends.append(max(text.rfind(" ", 1, _LONGEST), 0) or _LONGEST)
        return min(ends, default=0)
