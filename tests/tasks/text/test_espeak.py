"""Pronunciations by the optional eSpeak NG."""

from __future__ import annotations

import sys

import pytest

from streamer.errors import InvalidRequest
from streamer.tasks.text import espeak
from streamer.tasks.text.ipa import to_arpabet
from streamer.tasks.text.normalise import read_aloud
from streamer.tasks.text.pronounce import Pronouncer
from streamer.tasks.text.spoken import Piece


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("h_\u0259_l_\u02c8o\u028a", "HH AH0 L OW1"),
        ("w_\u02c8\u025c\u02d0_l_d", "W ER1 L D"),
        ("\u02cc\u026a_n_t_\u025a_n_\u02c8\u00e6_\u0283_\u0259_n_\u0259l", "IH2 N T ER0 N AE1 SH AH0 N AH0 L"),
        ("f_\u02c8a\u026a\u025a", "F AY1 ER0"),
        ("t_\u0283", "T SH"),
        ("t\u0283_\u02c8\u025c\u02d0_t\u0283", "CH ER1 CH"),
        ("b_\u02c8\u028c_\u0294_n\u0329", "B AH1 T AH0 N"),
        ("k_\u02c8\u0251\u02d0\u0279", "K AA1 R"),
        ("n\u02b2_j_\u02c8\u025b", "N Y EH1"),
        ("", ""),
    ],
)
def test_ipa_becomes_arpabet(ipa: str, phones: str) -> None:
    """Marks of stress go to the next vowel, syllabic consonants come apart, unknown signs are left out."""
    assert to_arpabet(ipa) == tuple(phones.split())


def test_words_are_looked_up() -> None:
    """eSpeak pronounces any word, as a lexicon would."""
    pytest.importorskip("espeakng_loader", reason="the optional package of the extra espeak")
    lookup = espeak.Espeak().lookup
    assert lookup("hello") == ("HH", "AH0", "L", "OW1")
    assert lookup("o'clock") == ("AH0", "K", "L", "AA1", "K")
    assert lookup("'") is None
    piece = Piece(tuple(read_aloud("Hello, the zorblax.")))
    pronouncer = Pronouncer(lookup)
    assert pronouncer.unknown(piece) == ()
    assert " ".join(pronouncer.pronounce(piece).symbols) == "^ HH AH0 L OW1 , DH AH0 _ Z AO1 R B L AE0 K S ."


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, and how to get it, is said at once."""
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak.load_espeak.cache_clear()
    try:
        with pytest.raises(InvalidRequest, match=r"^phonemes espeak needs the package espeakng-loader, .*\[espeak\]'$"):
            espeak.Espeak()
    finally:
        espeak.load_espeak.cache_clear()
