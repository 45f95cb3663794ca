"""Text that arrives in portions, cut into pieces that can be spoken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import Any, Literal

from streamer.tasks.text.normalise import Event, Normaliser, add_event
from streamer.tasks.text.numbers import load
from streamer.tasks.text.scanner import LineBreak, Scanner
from streamer.tasks.text.spoken import GAP, SENTENCE_ENDS, Piece, SpokenWord
from streamer.tasks.text.word_sets import word_set

Mode = Literal["clauses", "words"]
LONGEST_PIECE, MOST_LETTERS = 30, 320
"""Words, and letters with a gap each, after which a piece is cut where nothing in the text cuts it."""
# A clause of fewer words that ends in no more than a comma is spoken with the next one.
_SHORTEST_CLAUSE = 3
# Where `words` cuts, with one word of look-ahead: the first piece after silence is short, to be heard soon.
_FIRST_WORDS, _NEXT_WORDS = 3, 6
# So many words more are no piece of their own if a clause ends with them.
_LAST_WORDS = 2
_CONTEXT_WORDS = 10
_CONJUNCTIONS = word_set("and or but nor because although though while whereas if unless until when which who that")
_PREPOSITIONS = word_set(
    "as of in on at to for with from by into onto over under about after before between through during without",
    "against among across around behind beyond toward towards upon within than",
)


class Reader:
    """Reads text and gives it out in pieces, which depend on the text alone and not on how it was portioned.

    A piece ends at `. ? !`, at `, ; :` or a dash if it has three words or more (shorter clauses go with the next
    one), and at line breaks (`Scanner`). Ones that are too long (`LONGEST_PIECE`, `MOST_LETTERS`) are cut at the last
    pause, else before the last conjunction, else before a preposition, else anywhere. In the mode `words` a piece also
    ends after three words, later six, as soon as one more word is known. A word is known when the blank after it has
    come, and what it may be the beginning of is excluded: `$3` waits for the next word, which may be "million".

    Pieces within a sentence carry up to ten words before them as context, and the next word if no pause ends them.
    At most some tens of words and one token of 256 characters are held.
    """

    def __init__(self, mode: Mode = "clauses") -> None:
        load()
        self._by_words = mode == "words"
        self._scanner, self._normaliser = Scanner(), Normaliser()
        self._words: list[SpokenWord] = []
        self._context: tuple[SpokenWord, ...] = ()
        self._is_first = True

    @property
    def received_chars(self) -> int:
        """How many code points were fed so far; places of words count from the first of them."""
        return self._scanner.received_chars

    def feed(self, text: str) -> list[Piece]:
        """Take more text; returns the pieces that are complete."""
        return self._take(self._normaliser.push(self._scanner.push(text)))

    def finish(self) -> list[Piece]:
        """Return what is left, as if the text ended here: its last word ends a sentence. Text may follow."""
        pieces = self._take(self._normaliser.push(self._scanner.finish()))
        pieces += self._take([*self._normaliser.end_line(), LineBreak()])
        self._context, self._is_first = (), True
        return pieces

    def state(self) -> dict[str, Any]:
        """Everything that is remembered, as JSON-compatible data."""
        return {
            "scanner": self._scanner.state(),
            "normaliser": self._normaliser.state(),
            "words": [list(astuple(word)) for word in self._words],
            "context": [list(astuple(word)) for word in self._context],
            "is_first": self._is_first,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` of a reader of the same mode returned."""
        self._scanner.restore(state["scanner"])
        self._normaliser.restore(state["normaliser"])
        self._words = [SpokenWord(*word) for word in state["words"]]
        self._context = tuple(SpokenWord(*word) for word in state["context"])
        self._is_first = state["is_first"]

    def _take(self, events: Iterable[Event]) -> list[Piece]:
        pieces: list[Piece] = []
        for event in events:
            add_event(self._words, event)
            while (count := self._count(is_line_end=isinstance(event, LineBreak))) > 0:
                pieces.append(self._cut(count))
        return pieces

    def _count(self, is_line_end: bool) -> int:
        """How many words the next piece has, 0 if that is not known yet."""
        words = self._words
        if (fitting := _fitting(words)) < len(words):
            return _best_cut(words, fitting)
        ends = self._ends(is_line_end)
        if self._by_words and (count := self._early(ends)):
            return count
        return len(words) if ends else 0

    def _ends(self, is_line_end: bool) -> bool:
        """Tell whether the last word ends a clause that may be a piece."""
        if not self._words or (self._words[-1].glued and not is_line_end):
            return False
        pause = self._words[-1].pause
        is_clause = pause != GAP and len(self._words) >= _SHORTEST_CLAUSE
        return is_line_end or is_clause or pause in SENTENCE_ENDS

    def _early(self, ends: bool) -> int:
        """Where `words` cuts before any punctuation: a word must follow, and not be one of the last few."""
        known, wanted = len(self._words), _FIRST_WORDS if self._is_first else _NEXT_WORDS
        if ends and known <= wanted + _LAST_WORDS:
            return 0
        return next((count for count in range(wanted, known) if not self._words[count - 1].glued), 0)

    def _cut(self, count: int) -> Piece:
        words, self._words = tuple(self._words[:count]), self._words[count:]
        pause = words[-1].pause
        is_mid_phrase = bool(self._context) and self._context[-1].pause == GAP
        after = tuple(self._words[:1]) if pause == GAP else ()
        piece = Piece(words, is_mid_phrase, self._context, after)
        self._context = () if pause in SENTENCE_ENDS else (*self._context, *words)[-_CONTEXT_WORDS:]
        self._is_first = False
        return piece


def _fitting(words: list[SpokenWord]) -> int:
    """How many of the words one piece may have, at least one."""
    letters = 0
    for count, word in enumerate(words[:LONGEST_PIECE]):
        letters += len(word.text) + 1
        if letters > MOST_LETTERS and count:
            return count
    return min(len(words), LONGEST_PIECE)


def _best_cut(words: list[SpokenWord], most: int) -> int:
    """Where to cut more words than fit, `most`; in the second half of those, if there is a choice."""
    places = [place for place in range(1, most + 1) if not words[place - 1].glued]
    late = [place for place in places if place > most // 2]
    for choice in (
        [place for place in places if words[place - 1].pause != GAP],
        [place for place in late if words[place].text.lower() in _CONJUNCTIONS],
        [place for place in late if words[place].text.lower() in _PREPOSITIONS],
        places,
    ):
        if choice:
            return choice[-1]
    return most
