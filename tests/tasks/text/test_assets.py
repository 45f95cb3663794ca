"""The assets of a voice: its symbols and its lexicon."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import BundleError
from streamer.tasks.text.lexicon import read_lexicon
from streamer.tasks.text.symbols import SymbolTable

_SYMBOLS = ("<pad>", *"^_,;:.?!-", "AH0", "K", *"abcdefghijklmnopqrstuvwxyz'")


@pytest.fixture
def table() -> SymbolTable:
    return SymbolTable.parse("".join(f"{symbol}\n" for symbol in _SYMBOLS))


def test_symbols_are_numbered_by_line(table: SymbolTable) -> None:
    """Ids are line numbers from zero."""
    assert len(table) == len(_SYMBOLS)
    assert "K" in table
    assert "ZH" not in table
    np.testing.assert_array_equal(table.ids(["^", "K", "."]), [1, 11, 6])
    with pytest.raises(BundleError, match=r"^symbols: expected ZH, got none$"):
        table.ids(["ZH"])


def test_words_become_rows_of_letters(table: SymbolTable) -> None:
    """Letters are padded with zeros to the length of the graph's input, or cut."""
    first = _SYMBOLS.index("a")
    np.testing.assert_array_equal(table.letters("cab", 5), [first + 2, first, first + 1, 0, 0])
    np.testing.assert_array_equal(table.letters("cab", 2), [first + 2, first])


def test_sounds_skip_what_is_nothing(table: SymbolTable) -> None:
    """Zeros are no sounds, and neither are ids that a broken graph may return."""
    assert table.sounds(np.array([0, 11, 0, 10, 999, -1])) == ("K", "AH0")


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (_SYMBOLS[1:], "symbols: expected <pad>, got none"),
        ((*_SYMBOLS, "K"), "symbols: expected each once, got one twice"),
        (("K", *_SYMBOLS[:11], *_SYMBOLS[12:]), "symbols: expected <pad> first, got K"),
        ([symbol for symbol in _SYMBOLS if symbol not in "ab"], "symbols: expected a b, got none"),
    ],
)
def test_other_symbols_are_refused(symbols: tuple[str, ...], message: str) -> None:
    """A table without what the front end writes is a damaged bundle."""
    with pytest.raises(BundleError, match=f"^{message}$"):
        SymbolTable(symbols)


def test_a_lexicon_is_read(tmp_path: Path) -> None:
    """Words map to their phones; others are not there."""
    path = tmp_path / "lexicon.txt.gz"
    path.write_bytes(gzip.compress(b"cat\tK AE1 T\ndog\tD AO1 G\n"))
    lexicon = read_lexicon(path)
    assert (len(lexicon), lexicon["cat"], lexicon.get("cow"), list(lexicon)) == (
        2,
        ("K", "AE1", "T"),
        None,
        ["cat", "dog"],
    )
    assert "dog" in lexicon


@pytest.mark.parametrize(
    "data",
    [b"cat\tK", gzip.compress(b"cat K\n"), gzip.compress(b"\xff\tK"), gzip.compress(b"a\tK")[:-6], b""],
    ids=["no gzip", "no tab", "no text", "cut off", "empty"],
)
def test_a_damaged_lexicon_is_refused(tmp_path: Path, data: bytes) -> None:
    """Anything but gzip text of words and phones is a damaged bundle."""
    path = tmp_path / "lexicon.txt.gz"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"^(cannot read the lexicon|lexicon) lexicon\.txt\.gz: "):
        read_lexicon(path)
