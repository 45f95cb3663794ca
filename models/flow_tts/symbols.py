"""The symbols that text becomes: pauses, phones and letters. The one list of them; bundles carry it as an asset."""

from pathlib import Path

from streamer.tasks.text.spoken import BEGIN, GAP, PAD, PAUSES
from streamer.tasks.text.word_sets import word_set

CONSONANTS = word_set("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH")
VOWELS = word_set("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW")
STRESSES = ("0", "1", "2")
PHONES = tuple(sorted([*CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in STRESSES)]))
"""The 39 phones of ARPAbet as the CMU pronouncing dictionary writes them, vowels with their stress."""
LETTERS = (*"abcdefghijklmnopqrstuvwxyz", "'")
SYMBOLS = (PAD, BEGIN, GAP, *PAUSES, *PHONES, *LETTERS)
"""All symbols; the place of one is its id, and that of `PAD` is 0."""
IDS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def write_symbols(path: Path) -> None:
    """Write the asset `symbols`: one symbol a line."""
    path.write_text("".join(f"{symbol}\n" for symbol in SYMBOLS), encoding="utf-8")
