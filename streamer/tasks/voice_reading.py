"""The text of one stream of a voice: from what came to pieces that can be spoken, and the words they are made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from streamer.bundle.manifest import Manifest
from streamer.errors import BundleError
from streamer.tasks.base import SpokenSpan
from streamer.tasks.synthesis_options import SynthesisOptions, check_text
from streamer.tasks.text.lexicon import read_lexicon
from streamer.tasks.text.pronounce import Pronouncer
from streamer.tasks.text.spoken import Piece, Pronounced
from streamer.tasks.text.symbols import SymbolTable
from streamer.tasks.voice_work import NewPiece, Utterance
from streamer.work import Array

Pieces = Literal["clauses", "words"]
# Text is read in parts of this many characters, with the work of other streams between them: some milliseconds each.
PART = 250


class Cutter(Protocol):
    """Cuts the text of a stream into pieces, the same whatever parts it comes in."""

    def feed(self, text: str) -> Sequence[Piece]:
        """Take more text; return the pieces that are complete."""

    def finish(self) -> Sequence[Piece]:
        """Return what is left, as if the text ended; more may follow."""


class Spelling(Protocol):
    """What a model says of how its text is read."""

    @property
    def symbols(self) -> SymbolTable:
        """What words are written in."""

    @property
    def letters(self) -> int:
        """Letters of a word that the graph takes, 0 where there is none."""


@dataclass(frozen=True, slots=True)
class VoiceText:
    """What all streams of a voice read by. `cut` makes the cutter of a stream, from `SynthesisOptions.pieces`."""

    symbols: SymbolTable
    pronouncer: Pronouncer
    letters: int
    cut: Callable[[Pieces], Cutter]

    @classmethod
    def of(cls, model: Spelling, manifest: Manifest, folder: Path) -> VoiceText:
        """Read the asset `lexicon` of the bundle in `folder`; raises `BundleError`."""
        if "lexicon" not in manifest.task.assets:
            raise BundleError(f"bundle {manifest.name}: task {manifest.task.kind} needs the asset lexicon")
        try:
            lexicon = read_lexicon(folder / manifest.task.assets["lexicon"])
        except BundleError as error:
            raise BundleError(f"bundle {manifest.name}: {error}") from None
        # Only servers with a voice need it.
        from streamer.tasks.text.numbers import load
        from streamer.tasks.text.reader import Reader

        load()
        return cls(model.symbols, Pronouncer(lexicon.get), model.letters, Reader)

    def reader(self, options: SynthesisOptions) -> VoiceReader:
        """Return the reader of a new stream; raises `InvalidRequest` for pronunciations that are not there."""
        return VoiceReader(
            self, self._pronouncer(options.phonemes), "words" if options.pieces == "words" else "clauses"
        )

    def _pronouncer(self, phonemes: str) -> Pronouncer:
        if not phonemes:
            return self.pronouncer
        from streamer.tasks.text.espeak import Espeak

        return Pronouncer(Espeak().lookup)


class Reading:
    """A piece on its way to sound. `written` are the characters that it was read from, the first one number `start`."""

    def __init__(self, piece: Piece, written: str, start: int, text: VoiceText, pronouncer: Pronouncer) -> None:
        self._piece = piece
        self._written = written
        self._start = start
        self._text = text
        self._pronouncer = pronouncer
        # What only the model can spell.
        self._unknown = pronouncer.unknown(piece) if text.letters else ()
        self._pronounced: Pronounced | None = None

    def new_piece(self) -> NewPiece:
        """Return what the program makes frames of."""
        return NewPiece([self._text.symbols.letters(word, self._text.letters) for word in self._unknown], self._plan)

    def words(self, durations: Array, first_frame: int, frame_samples: int) -> list[SpokenSpan]:
        """Return the words as they were written.

        `durations` int64 `[n]` are the frames of the symbols that were planned, of which the first begins at
        `first_frame`.
        """
        assert self._pronounced is not None
        starts = (first_frame + np.concatenate(([0], np.cumsum(durations)))) * frame_samples
        first = self._pronounced.spoken.indices(len(self._pronounced.symbols))[0]
        spans = zip(self._piece.words, self._pronounced.word_spans, strict=True)
        words = []
        shift = self._start - self._piece.start_char
        # Several words may be read from the same characters, as those of a number are.
        for (start, end), group in groupby(spans, lambda pair: (pair[0].start_char, pair[0].end_char)):
            places = [place for _, place in group]
            begin, stop = int(starts[places[0][0] - first]), int(starts[places[-1][1] - first])
            written = self._written[start - self._piece.start_char : end - self._piece.start_char]
            words.append(SpokenSpan(written, start + shift, end + shift, begin, stop))
        return words

    def _plan(self, sounds: Sequence[Array]) -> Utterance:
        table = self._text.symbols
        spelled = {word: table.sounds(ids) for word, ids in zip(self._unknown, sounds, strict=False)}
        self._pronounced = self._pronouncer.pronounce(self._piece, spelled)
        begin, end, _ = self._pronounced.spoken.indices(len(self._pronounced.symbols))
        return Utterance(table.ids(self._pronounced.symbols), begin, end)


class VoiceReader:
    """Reads the text of one stream, part by part and no further than it is spoken."""

    def __init__(self, text: VoiceText, pronouncer: Pronouncer, pieces: Pieces) -> None:
        self._text = text
        self._pronouncer = pronouncer
        self._kind = pieces
        # Characters that came and are not read yet, and all that came.
        self._unread = ""
        self._received = 0
        self._anew()

    def _anew(self) -> None:
        self._cutter = self._text.cut(self._kind)
        # Where the cutter began, and what of its text no piece has been made of yet.
        self._origin = self._kept_from = self._received
        self._kept = ""
        self._pieces: deque[Piece] = deque()
        self._is_finishing = self._is_finished = False

    @property
    def waiting_chars(self) -> int:
        """Characters that came and were not taken in a piece."""
        return len(self._unread) + len(self._kept)

    @property
    def has_piece(self) -> bool:
        """Whether a piece is complete."""
        return bool(self._pieces)

    @property
    def has_unread(self) -> bool:
        """Whether there may be a piece in what was not read yet."""
        return bool(self._unread) or self._is_finishing

    def read(self) -> None:
        """Read on a little, unless a piece is complete."""
        if self._pieces:
            return
        if self._unread:
            part, self._unread = self._unread[:PART], self._unread[PART:]
            self._kept += part
            self._pieces.extend(self._cutter.feed(part))
        elif self._is_finishing:
            self._is_finishing, self._is_finished = False, True
            self._pieces.extend(self._cutter.finish())
            self._forget()

    def feed(self, text: str) -> None:
        """Take more text; raises `InvalidRequest` for characters that no text holds."""
        check_text(text)
        self._unread += text
        self._received += len(text)

    def finish(self) -> None:
        """What came so far is complete."""
        self._is_finishing = True

    def drop(self) -> None:
        """Forget all that came; characters are counted on."""
        self._unread = ""
        self._anew()

    def take(self) -> Reading:
        """Return the next piece; there is one."""
        piece = self._pieces.popleft()
        start, end = piece.start_char + self._origin, piece.end_char + self._origin
        written = self._kept[start - self._kept_from : end - self._kept_from]
        # Words that were read from the same characters may be in different pieces.
        self._kept, self._kept_from = self._kept[start - self._kept_from :], start
        self._forget()
        return Reading(piece, written, start, self._text, self._pronouncer)

    def _forget(self) -> None:
        """Of text that was finished nothing is needed after its last piece."""
        if self._is_finished and not self._pieces:
            self._kept, self._kept_from, self._is_finished = "", self._received - len(self._unread), False
