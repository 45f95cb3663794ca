"""Ids of text: those of another implementation of the same pieces, with the cuts that Qwen2 makes before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("tiktoken", reason="the workshop's tests need the training environment")

from streamer.tasks.token_bpe import BytePairs  # noqa: E402
from tests.models.cosyvoice_text import oracle, write_units  # noqa: E402

_PARTS = (
    *("Hello", "hello", "world", " ", "  ", "\n", "\r\n", "\t", "'s", "'S", "'ll", "'x", "é", "ä", "ß", "naïve", "ñ"),
    *("12", "3.5", "½", "٣", "Ⅷ", "你好", "。", "\uff01", "…", "-", "--", "(", ")", "$", "€", "\u00a0", "\u3000"),
    *("\u0301", "🙂", "ど", "ไทย", "हिन्दी", "<|endofprompt|>", "oooo", "llll"),
)


def test_ids_are_those_of_another_implementation(tmp_path: Path) -> None:
    """Of words, figures, scripts, blanks and marks in any order, which are composed as Unicode composes them."""
    import unicodedata

    units, plain, dice = BytePairs.read(*write_units(tmp_path)), oracle(), np.random.default_rng(0)
    for _ in range(2000):
        text = "".join(_PARTS[at] for at in dice.integers(len(_PARTS), size=dice.integers(12)))
        composed = unicodedata.normalize("NFC", text)
        assert units.encode(text) == plain.encode(composed, disallowed_special=()), text
        assert plain.decode(units.encode(text)) == composed
