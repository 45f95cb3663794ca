"""The lexicon of a voice: the asset `lexicon`, gzip text of lines `word<TAB>PH PH PH`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from streamer.errors import BundleError

Sounds = tuple[str, ...]
_MAX_BYTES = 64 << 20


class Lexicon(Mapping[str, Sounds]):
    """Words in lower case to their phones; one string per word, because 125 000 tuples of strings would be 30 MB."""

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._phones = dict(lines)

    def __getitem__(self, word: str) -> Sounds:
        return tuple(self._phones[word].split(" "))

    def __contains__(self, word: object) -> bool:
        return word in self._phones

    def __iter__(self) -> Iterator[str]:
        return iter(self._phones)

    def __len__(self) -> int:
        return len(self._phones)


def read_lexicon(path: Path) -> Lexicon:
    """Read the asset; raises `BundleError` for a file that is no gzip, larger than 64 MiB, or of other lines."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BundleError(f"cannot read the lexicon {path.name}: {error}") from None
    if len(data) > _MAX_BYTES:
        raise BundleError(f"lexicon {path.name}: expected at most {_MAX_BYTES} bytes, got more")
    lexicon = Lexicon(_entry(line, path.name) for line in text.splitlines())
    if not lexicon:
        raise BundleError(f"lexicon {path.name}: expected words, got none")
    return lexicon


def _entry(line: str, name: str) -> tuple[str, str]:
    word, tab, phones = line.partition("\t")
    if not (word and tab and phones.strip()):
        raise BundleError(f"lexicon {name}: expected word, tab and phones, got {line[:40]!r}")
    return word, phones.strip()
