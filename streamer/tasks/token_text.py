"""The text of a stream of tokens, cut into utterances of the language model.

An utterance is a sentence, or a part of one that ends with a clause where all of it could be too long for the model's
cache. How text came makes no difference: utterances follow from the symbols alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from streamer.tasks.text.spoken import BEGIN, GAP, PAUSES, SENTENCE_ENDS
from streamer.tasks.text.symbols import SymbolTable

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """The text of one utterance as far as it is known: ids of text, to which more come unless it `is_complete`."""

    ids: Ids = ()
    is_complete: bool = False


Scripts = tuple[Script, ...]


def closed(scripts: Scripts) -> Scripts:
    """Return `scripts` of which the last one is complete, as no text follows."""
    if not scripts or scripts[-1].is_complete:
        return scripts
    return (*scripts[:-1], replace(scripts[-1], is_complete=True))


@dataclass(frozen=True, slots=True)
class Composer:
    """Adds pieces of text to utterances of at most `most` symbols. `ends` are the symbols after which one is complete,
    `pauses` those after which it is if it is long. An utterance begins with `begin`, in place of a `gap`.
    """

    most: int
    begin: int
    gap: int
    pauses: frozenset[int]
    ends: frozenset[int]

    @classmethod
    def of(cls, symbols: SymbolTable, most: int) -> Composer:
        """Make the composer of a voice with these symbols."""

        def ids(names: Iterable[str]) -> frozenset[int]:
            return frozenset(symbols.ids(names).tolist())

        begin, gap = symbols.ids((BEGIN, GAP)).tolist()
        return cls(most, begin, gap, ids(PAUSES), ids(SENTENCE_ENDS))

    def add(self, scripts: Scripts, piece: Sequence[int], ends_sentence: bool = False) -> Scripts:
        """Return `scripts` with the symbols of one more piece, with which a sentence ends if it says so."""
        # One more may begin it.
        for part in self._parts(tuple(piece), self.most - 1):
            is_open = bool(scripts) and not scripts[-1].is_complete
            if is_open and len(scripts[-1].ids) + len(part) > self.most:
                scripts, is_open = closed(scripts), False
            if is_open:
                scripts = (*scripts[:-1], Script(scripts[-1].ids + part))
            else:
                scripts = (*scripts, Script(self._begun(part)))
            if self._is_whole(scripts[-1].ids):
                scripts = closed(scripts)
        return scripts

    def _begun(self, part: Ids) -> Ids:
        rest = part[1:] if part[0] in (self.begin, self.gap) else part
        return (self.begin, *rest)

    def _is_whole(self, ids: Ids) -> bool:
        return ids[-1] in self.ends or (ids[-1] in self.pauses and 2 * len(ids) >= self.most)

    def _parts(self, piece: Ids, most: int) -> Iterable[Ids]:
        """Cut what is too long before a gap, if there is one."""
        while len(piece) > most:
            gaps = [place for place in range(1, most + 1) if piece[place] == self.gap]
            place = gaps[-1] if gaps else most
            yield piece[:place]
            piece = piece[place:]
        if piece:
            yield piece


@dataclass(frozen=True, slots=True)
class UnitComposer:
    """Adds pieces of text to utterances of at most `most` ids, where these do not say what they are."""

    most: int

    def add(self, scripts: Scripts, piece: Sequence[int], ends_sentence: bool = False) -> Scripts:
        """See `Composer`."""
        for first in range(0, len(piece), self.most):
            part = tuple(piece[first : first + self.most])
            is_open = bool(scripts) and not scripts[-1].is_complete
            if is_open and len(scripts[-1].ids) + len(part) > self.most:
                scripts, is_open = closed(scripts), False
            before = scripts[-1].ids if is_open else ()
            scripts = (*(scripts[:-1] if is_open else scripts), Script(before + part))
        return closed(scripts) if ends_sentence and piece else scripts
