"""Symbols, the lexicon of the CMU dictionary, and transcription through the server's front end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts import lexicon, symbols  # noqa: E402
from models.flow_tts.transcribing import Transcriber  # noqa: E402
from streamer.tasks.text.lexicon import read_lexicon  # noqa: E402
from streamer.tasks.text.symbols import SymbolTable  # noqa: E402

_DICTIONARY = """'bout B AW1 T
's EH1 S
a AH0
a(2) EY1
cat K AE1 T # an animal
cat(2) K AA1 T
a.m. EY2 EH1 M
cat's K AE1 T S
"""


def test_the_symbols_are_those_of_the_contract(tmp_path: Path) -> None:
    """Padding, silences and pauses, 39 phones with three stresses of 15 vowels, letters; the file numbers them."""
    path = tmp_path / "symbols.txt"
    symbols.write_symbols(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:10] == ["<pad>", "^", "_", ",", ";", ":", ".", "?", "!", "-"]
    assert len(symbols.PHONES) == 24 + 15 * 3
    assert lines[-27:] == [*"abcdefghijklmnopqrstuvwxyz", "'"]
    assert len(lines) == 106
    table = SymbolTable.parse(path.read_text(encoding="utf-8"))
    assert table.ids(symbols.SYMBOLS).tolist() == list(range(106))


def test_the_dictionary_is_read_as_data(tmp_path: Path) -> None:
    """First pronunciations of words of letters; remarks, points and bare endings are left out."""
    path = tmp_path / "cmudict.dict"
    path.write_text(_DICTIONARY, encoding="utf-8")
    words = lexicon.read_dictionary(path)
    assert words.keys() - lexicon.ADDED.keys() == {"'bout", "a", "cat", "cat's"}
    assert (words["cat"], words["a"]) == (("K", "AE1", "T"), ("AH0",))
    assert words["wifi"] == ("W", "AY1", "F", "AY2")


def test_a_phone_that_is_none_is_refused(tmp_path: Path) -> None:
    """What the voice has no symbol for does not get into its lexicon."""
    path = tmp_path / "cmudict.dict"
    path.write_text("cat K QQ T\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^cat: expected phones of ARPAbet, got QQ$"):
        lexicon.read_dictionary(path)


def test_what_is_added_has_symbols() -> None:
    """Our own entries are words in lower case and known phones, in order."""
    assert list(lexicon.ADDED) == sorted(lexicon.ADDED)
    for word, phones in lexicon.ADDED.items():
        assert word.islower()
        assert set(phones.split()) <= set(symbols.PHONES)


def test_the_asset_is_sorted_and_always_the_same(tmp_path: Path) -> None:
    """Equal words give equal bytes; the server reads what was written."""
    first, second = tmp_path / "first.gz", tmp_path / "second.gz"
    words = {"dog": ("D", "AO1", "G"), "cat": ("K", "AE1", "T")}
    lexicon.write_lexicon(words, first)
    lexicon.write_lexicon(dict(reversed(words.items())), second)
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()) == b"cat\tK AE1 T\ndog\tD AO1 G\n"
    assert dict(read_lexicon(first)) == words


def test_the_whole_dictionary_becomes_a_lexicon(tmp_path: Path) -> None:
    """The dictionary of the workshop's package has the words of everyday text, and its licence."""
    words = lexicon.read_dictionary(lexicon.dictionary_path())
    assert len(words) > 120_000
    assert words["the"] == ("DH", "AH0")
    lexicon.write_licence(lexicon.dictionary_path(), tmp_path / "licence")
    assert "Carnegie Mellon University" in (tmp_path / "licence").read_text(encoding="utf-8")


def test_text_is_transcribed_as_it_is_served(tmp_path: Path) -> None:
    """One piece of symbols for a text; unknown words are spelled, or their letters."""
    path = tmp_path / "lexicon.txt.gz"
    lexicon.write_lexicon({"hello": ("HH", "AH0", "L", "OW1"), "five": ("F", "AY1", "V")}, path)
    plain = Transcriber(path)
    assert " ".join(plain("Hello, 5 zug!")) == "^ HH AH0 L OW1 , F AY1 V _ z u g !"
    assert plain.unknown("Hello, 5 zug!") == ("zug",)
    assert plain.unknown("...") == ()
    spelled = Transcriber(path, lambda words: dict.fromkeys(words, ("Z", "AH1", "G")))
    found, words = spelled.pronounce("Hello, zug")
    assert " ".join(found.symbols) == "^ HH AH0 L OW1 , Z AH1 G ."
    assert [word.text for word in words] == ["Hello", "zug"]
    with pytest.raises(ValueError, match="expected text with words"):
        plain("...")
