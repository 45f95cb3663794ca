"""The sounds that eSpeak NG writes for American English, in the International Phonetic Alphabet, as ARPAbet."""

from __future__ import annotations

import re

PRIMARY, SECONDARY = "\u02c8", "\u02cc"
# Vowels come without their stress, which the marks before them say; some of one sign are two phones or more.
_VOWELS = {
    "\u0259": "AH", "\u0250": "AH", "\u028c": "AH", "\u00e6": "AE", "a": "AA", "\u0251\u02d0": "AA", "\u0251": "AA",
    "\u0252": "AA", "\u0254": "AO", "\u0254\u02d0": "AO", "o\u02d0": "AO", "o\u028a": "OW", "o": "OW",
    "a\u028a": "AW", "a\u026a": "AY", "\u0254\u026a": "OY", "e\u026a": "EY", "e": "EY", "\u025b": "EH",
    "\u025b\u02d0": "EH", "\u025c\u02d0": "ER", "\u025c": "ER", "\u025a": "ER", "\u025d": "ER", "\u026a": "IH",
    "\u1d7b": "IH", "i": "IY", "i\u02d0": "IY", "\u028a": "UH", "u": "UW", "u\u02d0": "UW",
    "a\u026a\u025a": "AY ER", "a\u026a\u0259": "AY AH", "a\u028a\u025a": "AW ER", "i\u0259": "IY AH",
    "e\u0259": "EH R", "\u0259l": "AH L", "n\u0329": "AH N", "l\u0329": "AH L", "m\u0329": "AH M",
}  # fmt: skip
_CONSONANTS = {
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "\u0261": "G", "g": "G", "f": "F", "v": "V", "\u03b8": "TH",
    "\u00f0": "DH", "s": "S", "z": "Z", "\u0283": "SH", "\u0292": "ZH", "t\u0283": "CH", "d\u0292": "JH", "h": "HH",
    "m": "M", "n": "N", "\u014b": "NG", "l": "L", "\u026b": "L", "\u0279": "R", "r": "R", "w": "W", "\u028d": "W",
    "j": "Y", "x": "K", "\u00e7": "HH", "\u0294": "T", "\u027e": "T", "\u026c": "L",
}  # fmt: skip
_PHONES = _VOWELS | _CONSONANTS
_SIGN = re.compile("|".join(sorted(map(re.escape, (*_PHONES, PRIMARY, SECONDARY)), key=len, reverse=True)))


def to_arpabet(ipa: str) -> tuple[str, ...]:
    """Phones of `ipa`, vowels with the stress 0, 1 or 2 of the mark before them; signs that are unknown are left out.

    `ipa` may have `_` between its phones, which keeps "t" and a following sibilant of the next syllable apart.
    """
    phones: list[str] = []
    stress = "0"
    for found in _SIGN.finditer(ipa):
        sign = found[0]
        if sign in (PRIMARY, SECONDARY):
            stress = "1" if sign == PRIMARY else "2"
        elif sign in _VOWELS:
            first, *rest = _VOWELS[sign].split()
            phones += [first + stress, *(phone + "0" if phone in _LATER_VOWELS else phone for phone in rest)]
            stress = "0"
        else:
            phones.append(_CONSONANTS[sign])
    return tuple(phones)


_LATER_VOWELS = frozenset(["AH", "ER"])
