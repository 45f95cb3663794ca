"""Words to symbols: lexicon, rules, names of letters, and what is left for the graph `spell`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from streamer.tasks.text.heteronyms import choose, is_heteronym
from streamer.tasks.text.letters import is_initials, letter_sounds
from streamer.tasks.text.morphology import derive, is_vowel, split_clitic, with_s
from streamer.tasks.text.spoken import BEGIN, GAP, Piece, Pronounced, SpokenWord

Sounds = tuple[str, ...]
Lookup = Callable[[str], Sounds | None]
"""From a word in lower case to its phones, None for a word that is not known."""
Spelled = Mapping[str, Sounds]
_NOTHING: Spelled = MappingProxyType({})
_CAPITALS = re.compile(r"([A-Z]{2,})('?s)?")
_VOWELS = frozenset("aeiouy")
_HUMP = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z']+|[A-Z]")


@dataclass(frozen=True, slots=True)
class _Part:
    """What a word, or a part of it, sounds like; None if `stem` has to be spelled and `finish` adds its ending."""

    text: str
    sounds: Sounds | None
    stem: str = ""
    finish: Callable[[Sounds], Sounds] = lambda sounds: sounds

    def say(self, spelled: Spelled) -> Sounds:
        """Its sounds, or its letters where nobody knows better."""
        if self.sounds is not None:
            return self.sounds
        found = spelled.get(self.stem)
        return self.finish(found) if found else tuple(self.text)


class Pronouncer:
    """Pronounces pieces. It remembers nothing, so that streams and threads may share one."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def unknown(self, piece: Piece) -> tuple[str, ...]:
        """Words, a-z and apostrophes in lower case, that only the graph `spell` can pronounce; each once."""
        parts = (part for parts in self._parts(_all_words(piece)) for part in parts)
        return tuple(dict.fromkeys(part.stem for part in parts if part.sounds is None))

    def pronounce(self, piece: Piece, spelled: Spelled = _NOTHING) -> Pronounced:
        """Return the symbols of `piece` between its context; `spelled` holds what `spell` made of `unknown(piece)`.

        A word that is missing there, or empty, is written as its letters, which are symbols too.
        """
        words = _all_words(piece)
        said = [tuple(sound for part in parts for sound in part.say(spelled)) for parts in self._parts(words)]
        before = len(piece.context_before)
        symbols = [GAP if piece.begins_mid_phrase and not before else BEGIN]
        spans: list[tuple[int, int]] = []
        for index, (word, sounds) in enumerate(zip(words, _linked(words, said), strict=True)):
            spans.append((len(symbols), len(symbols) + len(sounds)))
            symbols.extend(sounds)
            if word.pause != GAP or index + 1 < len(words):
                symbols.append(word.pause)
        own = tuple(spans[before : before + len(piece.words)])
        # The gap before the first word belongs to this piece, a pause to the piece that it ends.
        start = 0 if not before else own[0][0] - (1 if piece.begins_mid_phrase else 0)
        stop = own[-1][1] + (piece.words[-1].pause != GAP)
        return Pronounced(tuple(symbols), own, slice(start, stop))

    def _parts(self, words: Sequence[SpokenWord]) -> Iterator[tuple[_Part, ...]]:
        for index, word in enumerate(words):
            previous = words[index - 1].text if index and words[index - 1].pause == GAP else ""
            following = words[index + 1].text if index + 1 < len(words) and word.pause == GAP else ""
            yield self._word(word, previous, following)

    def _word(self, word: SpokenWord, previous: str, following: str) -> tuple[_Part, ...]:
        text, lower = word.text, word.text.lower()
        if word.is_spelled:
            return (_Part(lower, letter_sounds(text)),)
        initials = self._initials(text, previous, following)
        if initials is not None:
            return (_Part(lower, initials),)
        if is_heteronym(lower):
            return (_Part(lower, choose(lower, previous.lower(), following.lower())),)
        part = self._lexical(lower)
        humps = _HUMP.findall(text) if part.sounds is None and not text.isupper() else []
        return tuple(self._hump(hump) for hump in humps) if len(humps) > 1 else (part,)

    def _initials(self, text: str, previous: str, following: str) -> Sounds | None:
        """The letters of a word in capitals, if they are said; not where a neighbour is in capitals too: a shout."""
        found = _CAPITALS.fullmatch(text)
        if found is None or any(len(word) > 1 and word.isupper() for word in (previous, following)):
            return None
        body, ending = found.groups()
        if not is_initials(body, self._lookup(body.lower()) is not None):
            return None
        return with_s(letter_sounds(body)) if ending else letter_sounds(body)

    def _hump(self, text: str) -> _Part:
        if len(text) == 1 or (text.isupper() and is_initials(text, self._lookup(text.lower()) is not None)):
            return _Part(text.lower(), letter_sounds(text))
        return self._lexical(text.lower())

    def _lexical(self, word: str) -> _Part:
        if found := self._lookup(word):
            return _Part(word, found)
        stem, finish = split_clitic(word) or (word, lambda sounds: sounds)
        known = self._lookup(stem) or derive(stem, self._lookup)
        if known is None and not _VOWELS & set(stem):
            known = letter_sounds(stem)
        if known:
            return _Part(word, finish(known))
        # Apostrophes are left to words like o'clock, and to those that nobody knows.
        return _Part(word, None, stem, finish)


def _all_words(piece: Piece) -> tuple[SpokenWord, ...]:
    return (*piece.context_before, *piece.words, *piece.context_after)


def _linked(words: Sequence[SpokenWord], said: Sequence[Sounds]) -> Iterator[Sounds]:
    """The sounds of each word beside its neighbours: `the`, `to` and `a` depend on what follows."""
    for index, (word, sounds) in enumerate(zip(words, said, strict=True)):
        following = said[index + 1][0] if index + 1 < len(words) and word.pause == GAP else ""
        yield sounds if word.is_spelled else _weak_form(word.text.lower(), sounds, following)


def _weak_form(word: str, sounds: Sounds, following: str) -> Sounds:
    before_vowel = following != "" and is_vowel(following)
    if word == "the":
        return ("DH", "IY0" if before_vowel else "AH0")
    if word == "to":
        return ("T", "UW1" if before_vowel or not following else "AH0")
    if word == "a":
        return ("AH0",) if following else ("EY1",)
    return sounds
