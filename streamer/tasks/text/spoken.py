"""What text becomes on its way to a voice: spoken words, pieces of them, and their symbols."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

PAD = "<pad>"
# Silence before a beginning, and the gap between two words without punctuation.
BEGIN, GAP = "^", "_"
# What may stand in place of the gap after a word.
PAUSES = (",", ";", ":", ".", "?", "!", "-")
SENTENCE_ENDS = (".", "?", "!")


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word as it is said, for the characters `start_char` to `end_char` of the stream's whole text.

    `text` holds a-z, A-Z and apostrophes only; its case is the writer's (`FBI`, `YouTube`). Positions count Unicode
    code points. Several words may stand for the same characters (`3.5`: "three", "point", "five"), and never overlap
    otherwise; both positions never fall from word to word. `is_spelled` says that the letters of `text` are named one
    by one. `pause` is what follows: `GAP` or one of `PAUSES`. No piece ends after a word that is `glued` to the next.
    """

    text: str
    start_char: int
    end_char: int
    pause: str = GAP
    is_spelled: bool = False
    glued: bool = False

    def paused(self, pause: str) -> SpokenWord:
        """The same word with `pause` after it, where a piece may end."""
        return replace(self, pause=pause, glued=False)


@dataclass(frozen=True, slots=True)
class Piece:
    """Words to be spoken together, never none.

    The encoder hears `context_before`, words that were spoken already, and `context_after`, which a later piece will
    speak. `begins_mid_phrase` says that no pause was spoken between the last word of `context_before` and this piece.
    """

    words: tuple[SpokenWord, ...]
    begins_mid_phrase: bool = False
    context_before: tuple[SpokenWord, ...] = ()
    context_after: tuple[SpokenWord, ...] = ()

    @property
    def start_char(self) -> int:
        """Where the piece begins in the stream's text."""
        return self.words[0].start_char

    @property
    def end_char(self) -> int:
        """Where the piece ends in the stream's text."""
        return self.words[-1].end_char


@dataclass(frozen=True, slots=True)
class Pronounced:
    """The symbols of a piece and of its context.

    `symbols[spoken]` is what is to be spoken. `word_spans` has one (start, stop) in `symbols` for each of
    `Piece.words`: its sounds without the gap or pause after it.
    """

    symbols: tuple[str, ...]
    word_spans: tuple[tuple[int, int], ...]
    spoken: slice = field(default_factory=lambda: slice(0, None))
