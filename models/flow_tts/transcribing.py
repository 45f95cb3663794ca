"""Text to symbols for training, through the server's own front end, so that training and serving cannot differ."""

from collections.abc import Callable, Mapping
from pathlib import Path

from streamer.tasks.text.lexicon import read_lexicon
from streamer.tasks.text.normalise import read_aloud
from streamer.tasks.text.pronounce import Pronouncer
from streamer.tasks.text.spoken import Piece, Pronounced, SpokenWord

Spell = Callable[[tuple[str, ...]], Mapping[str, tuple[str, ...]]]
"""From words in lower case to the phones of each, as `models.flow_tts.spell.Speller`."""


class Transcriber:
    """What is said for a text: one piece, however long, from `^` to its last pause.

    `lexicon` is the file that a bundle carries. Words that it lacks and no rule makes are pronounced by `spell`;
    without it they are their letters, as the server writes them for a bundle without a graph `spell`.
    """

    def __init__(self, lexicon: Path, spell: Spell | None = None) -> None:
        self._pronouncer = Pronouncer(read_lexicon(lexicon).get)
        self._spell = spell

    def unknown(self, text: str) -> tuple[str, ...]:
        """Words of `text` that neither the lexicon nor a rule pronounces."""
        words = read_aloud(text)
        return self._pronouncer.unknown(Piece(tuple(words))) if words else ()

    def pronounce(self, text: str) -> tuple[Pronounced, tuple[SpokenWord, ...]]:
        """Symbols of `text` and the words that they stand for; raises `ValueError` if nothing in it can be said."""
        words = tuple(read_aloud(text))
        if not words:
            raise ValueError(f"expected text with words, got {text!r}")
        piece = Piece(words)
        unknown = self._pronouncer.unknown(piece) if self._spell else ()
        return self._pronouncer.pronounce(piece, self._spell(unknown) if self._spell and unknown else {}), words

    def __call__(self, text: str) -> tuple[str, ...]:
        """The symbols alone; raises `ValueError` if nothing in `text` can be said."""
        return self.pronounce(text)[0].symbols
