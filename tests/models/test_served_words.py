"""Scores of a bundle: what is counted, and that it is the server that hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.served_words import SAMPLE_RATE, Heard, Spoken, header, listen, onset_s, score  # noqa: E402
from tests.toys import counter_expected, write_counter_asr  # noqa: E402
from tests.toys.counter import PIECES  # noqa: E402


def test_words_and_characters_are_pooled() -> None:
    """One wrong word of four is 25 %, whichever utterance holds it; silence before the first word counts as delay."""
    sound = np.concatenate([np.zeros(SAMPLE_RATE), np.ones(SAMPLE_RATE) / 2]).astype(np.float32)
    spoken = [Spoken("a b c", sound), Spoken("d", sound)]
    result = score(spoken, [Heard("a b x", 1.1), Heard("d", 1.1)], cpu_s=1.0)
    assert (result.utterances, result.words, result.word_error) == (2, 4, 0.25)
    assert result.onset_error_s == pytest.approx(0.1)
    assert result.cpu_ratio == pytest.approx(0.25)
    assert result.row("set", "ours") == "| set | ours | 2 | 4 | 25.0 % | 16.7 % | +100 ms | 0.250 | - |"
    peer = score(spoken, [Heard("a b c", 1.1), Heard("d", 1.1)], cpu_s=2.0)
    assert result.row("set", "ours", peer).endswith("| 0.250 | 0.50 |")
    assert header("Peer").splitlines()[0].count("|") == result.row("set", "ours").count("|")


def test_nothing_heard_is_an_error_of_everything() -> None:
    """Without words there is no first word to place."""
    result = score([Spoken("a b", np.ones(SAMPLE_RATE, np.float32))], [Heard("", None)], 0.0)
    assert result.word_error == 1.0
    assert np.isnan(result.onset_error_s)


def test_the_first_sound_is_found() -> None:
    """Faint noise before it does not count."""
    sound = np.full(SAMPLE_RATE, 1e-4, np.float32)
    sound[SAMPLE_RATE // 2 :] = 0.1
    assert onset_s(sound) == 0.5


def test_recordings_go_through_the_server(tmp_path: Path) -> None:
    """The text is that of the bundle's graph, and time is spent on it."""
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0, 0.1, 50), 320)
    sound = (rng.uniform(-1, 1, len(loudness)) * loudness).astype(np.float32)
    heard, cpu_s = listen([Spoken("", sound)], write_counter_asr(tmp_path))
    ids = counter_expected(sound)
    assert heard[0].text == "".join(PIECES[token] for token in ids[ids > 0]).replace("▁", " ").strip()
    assert heard[0].start_s is not None
    assert cpu_s > 0
