"""Pronunciations of words that a lexicon lacks, from words that it has: endings, contractions, compounds.

The rules are those of English phonology for the endings -s and -ed (voice of the last sound, a vowel between likes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Sounds = tuple[str, ...]
Lookup = Callable[[str], Sounds | None]

_SIBILANTS = frozenset(["S", "Z", "SH", "ZH", "CH", "JH"])
_VOICELESS = frozenset(["P", "T", "K", "F", "TH", "S", "SH", "CH", "HH"])
_VOWEL_LETTERS = "aeiouy"
# What follows an apostrophe, apart from 's and 'd, which depend on the sound before.
_CLITICS = {"'ll": ("AH0", "L"), "'ve": ("AH0", "V"), "'re": ("ER0",), "'m": ("M",), "n't": ("AH0", "N", "T")}
_SUFFIXES = {
    "ly": ("L", "IY0"),
    "less": ("L", "AH0", "S"),
    "ness": ("N", "AH0", "S"),
    "ful": ("F", "AH0", "L"),
    "ment": ("M", "AH0", "N", "T"),
    "ship": ("SH", "IH2", "P"),
    "er": ("ER0",),
    "ers": ("ER0", "Z"),
    "ing": ("IH0", "NG"),
    "ings": ("IH0", "NG", "Z"),
    "able": ("AH0", "B", "AH0", "L"),
}
_PREFIXES = {
    "un": ("AH0", "N"),
    "non": ("N", "AA2", "N"),
    "over": ("OW2", "V", "ER0"),
    "under": ("AH2", "N", "D", "ER0"),
    "super": ("S", "UW2", "P", "ER0"),
    "inter": ("IH2", "N", "T", "ER0"),
    "micro": ("M", "AY2", "K", "R", "OW0"),
    "multi": ("M", "AH2", "L", "T", "IY0"),
    "anti": ("AE2", "N", "T", "IY0"),
    "mis": ("M", "IH0", "S"),
    "pre": ("P", "R", "IY0"),
    "re": ("R", "IY0"),
}
_BRITISH = {"our": "or", "isation": "ization", "ise": "ize", "ising": "izing", "yse": "yze", "aem": "em", "oeu": "eu"}
_BRITISH_ENDINGS = {
    "tre": "ter",
    "bre": "ber",
    "ence": "ense",
    "lled": "led",
    "lling": "ling",
    "ogue": "og",
    "ller": "ler",
}
_SHORTEST_STEM, _SHORTEST_PART = 3, 4


def is_vowel(sound: str) -> bool:
    """Tell whether a phone is a vowel: those carry their stress."""
    return sound[-1].isdecimal()


def with_s(sounds: Sounds) -> Sounds:
    """Add the ending of plurals and possessives."""
    last = sounds[-1]
    if last in _SIBILANTS:
        return (*sounds, "IH0", "Z")
    return (*sounds, "S" if last in _VOICELESS else "Z")


def with_d(sounds: Sounds) -> Sounds:
    """Add the ending of past tenses."""
    last = sounds[-1]
    if last in ("T", "D"):
        return (*sounds, "IH0", "D")
    return (*sounds, "T" if last in _VOICELESS else "D")


def split_clitic(word: str) -> tuple[str, Callable[[Sounds], Sounds]] | None:
    """Take `'s`, `'d`, `'ll` and their like off: the word before, and what adds their sound; None without one."""
    if "'" not in word:
        return None
    for ending, add in (("'s", with_s), ("'d", with_d)):
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending), add
    if word.endswith("s'"):
        return word[:-1], lambda sounds: sounds
    for ending, sounds in _CLITICS.items():
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending), lambda stem, sounds=sounds: (*stem, *sounds)
    return None


def derive(word: str, lookup: Lookup) -> Sounds | None:
    """Pronounce `word` by the words it is made of, or as it is spelt in America; None if `lookup` has none of them."""
    american = next((lookup(spelt) for spelt in _american(word) if lookup(spelt)), None)
    return american or _inflected(word, lookup) or _affixed(word, lookup) or _compound(word, lookup)


def _american(word: str) -> Iterator[str]:
    """How `word` might be spelt in America: colour, realise, theatre, offence, travelled."""
    for british, ours in _BRITISH.items():
        if british in word:
            yield word.replace(british, ours)
    for british, ours in _BRITISH_ENDINGS.items():
        if word.endswith(british):
            yield word.removesuffix(british) + ours


def _inflected(word: str, lookup: Lookup) -> Sounds | None:
    for ending, add in (("s", with_s), ("es", with_s), ("d", with_d), ("ed", with_d)):
        if not word.endswith(ending) or word.endswith("ss"):
            continue
        stem = word.removesuffix(ending)
        # -d needs the e of its stem, or any word that ends in d would be one.
        if ending == "d" and not stem.endswith("e"):
            continue
        for candidate in _stems(stem) if ending != "s" else (stem,):
            if len(candidate) >= _SHORTEST_STEM and (found := lookup(candidate)):
                return add(found)
    if word.endswith("ies") and len(word) > _SHORTEST_STEM and (found := lookup(word[:-3] + "y")):
        return with_s(found)
    return None


def _stems(stem: str) -> tuple[str, ...]:
    """How the word before an ending that begins with a vowel may be written: as is, with e, with y, undoubled."""
    stems = [stem, stem + "e"]
    if stem.endswith("i"):
        stems.append(stem[:-1] + "y")
    if len(stem) > _SHORTEST_STEM and stem[-1] == stem[-2] and stem[-1] not in _VOWEL_LETTERS:
        stems.append(stem[:-1])
    return tuple(stems)


def _affixed(word: str, lookup: Lookup) -> Sounds | None:
    for ending, sounds in _SUFFIXES.items():
        if word.endswith(ending):
            stem = word.removesuffix(ending)
            for candidate in _stems(stem) if ending[0] in _VOWEL_LETTERS else (stem,):
                if len(candidate) > _SHORTEST_STEM and (found := lookup(candidate)):
                    return (*found, *sounds)
    for beginning, sounds in _PREFIXES.items():
        stem = word.removeprefix(beginning)
        if stem != word and len(stem) > _SHORTEST_STEM and (found := lookup(stem)):
            return (*sounds, *found)
    return None


def _compound(word: str, lookup: Lookup) -> Sounds | None:
    """Two words in one: the longest first part that leaves a word; its stress is the main one."""
    for at in range(len(word) - _SHORTEST_PART, _SHORTEST_PART - 1, -1):
        first, second = lookup(word[:at]), lookup(word[at:])
        if first and second:
            return (*first, *(sound.replace("1", "2") for sound in second))
    return None
