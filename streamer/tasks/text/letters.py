"""The names of letters, and which words in capitals are said letter by letter."""

from __future__ import annotations

from streamer.tasks.text.word_sets import word_set

_NAMES = {
    "a": "EY1", "b": "B IY1", "c": "S IY1", "d": "D IY1", "e": "IY1", "f": "EH1 F", "g": "JH IY1", "h": "EY1 CH",
    "i": "AY1", "j": "JH EY1", "k": "K EY1", "l": "EH1 L", "m": "EH1 M", "n": "EH1 N", "o": "OW1", "p": "P IY1",
    "q": "K Y UW1", "r": "AA1 R", "s": "EH1 S", "t": "T IY1", "u": "Y UW1", "v": "V IY1",
    "w": "D AH1 B AH0 L Y UW0", "x": "EH1 K S", "y": "W AY1", "z": "Z IY1",
}  # fmt: skip
_SOUNDS = {letter: tuple(name.split()) for letter, name in _NAMES.items()}
# Words of the lexicon that in capitals are something else.
_INITIALS = word_set(
    "ac ad ai api ba bc bs ca cd ceo cfo cpu cto dc eu gi gp gps gpu hp hr id ip ir iso it la llc lp ma md mb mp ms ",
    "nba nd nfl ngo nsa os pa pc phd pm pr sd sec sql ssl td tv uk un us usb va vc vip vr",
)
_LONGEST_INITIALS = 5
_VOWELS = frozenset("aeiouy")


def letter_sounds(word: str) -> tuple[str, ...]:
    """The names of the letters of `word`, one after the other; apostrophes are silent."""
    return tuple(sound for letter in word.lower() for sound in _SOUNDS.get(letter, ()))


def is_initials(word: str, is_known: bool) -> bool:
    """Tell whether `word`, written in capitals, is said letter by letter; `is_known` says that a lexicon has it.

    Known words are said as words (NASA), apart from those that mean something else in capitals (US, IT). Unknown ones
    are initials if they are short or have no vowel.
    """
    lower = word.lower()
    if lower in _INITIALS:
        return True
    return not is_known and (len(word) < _LONGEST_INITIALS or not _VOWELS & set(lower))
