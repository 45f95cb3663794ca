"""Our voice behind a host: whole texts and texts that come in words sound the same; where steps meet is told."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.evaluation_cache import Cache  # noqa: E402
from models.flow_tts import evaluate, evaluate_pieces, served  # noqa: E402
from models.flow_tts.served import ServedVoice, serving, words_of  # noqa: E402
from models.flow_tts.speakers import Sentence  # noqa: E402
from streamer.session.messages import SynthesisOptions  # noqa: E402
from tests.toys.voice import RATE, write_voice  # noqa: E402

TEXT = "Hello world, one two three."


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedVoice]:
    """A toy voice."""
    with serving(write_voice(tmp_path_factory.mktemp("voices"))) as found:
        yield found


def test_a_text_is_said(voice: ServedVoice) -> None:
    """At the rate of the model; messages begin where the one before ended."""
    said = voice.say(TEXT)
    assert said.rate == RATE
    assert len(said.samples) > RATE / 4
    assert said.starts[0] == 0
    assert len(said.joins) >= 2
    assert all(0 < place < len(said.samples) for place in said.joins)
    samples, rate = voice.speaker()(TEXT)
    assert rate == RATE
    assert np.array_equal(samples, said.samples)
    assert not np.array_equal(voice.say(TEXT, SynthesisOptions(seed=1)).samples, said.samples)


def test_words_that_come_one_by_one_sound_the_same(voice: ServedVoice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into clauses; in the order of the texts, though some are said at once."""
    monkeypatch.setattr(served, "WORD_S", 0.0)
    texts = [TEXT, "Good morning."]
    for text, streamed in zip(texts, voice.say_streamed(texts), strict=True):
        assert np.array_equal(streamed.samples, voice.say(text).samples)


def test_texts_are_cut_behind_spaces() -> None:
    """Nothing is lost, double spaces neither."""
    assert words_of("a b.") == ["a ", "b."]
    for text in ("one", "one  two ", ""):
        assert "".join(words_of(text)) == text


def test_the_report_tells_joins_and_what_streaming_changes(voice: ServedVoice, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for each way to send text, and how many texts sound the same."""
    monkeypatch.setattr(served, "WORD_S", 0.0)
    sentences = [Sentence("a", TEXT, "hello world one two three", (np.zeros(10, np.float32), RATE))]
    said = evaluate.say_all(voice, sentences)
    lines = evaluate.streaming(said).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == [f"| {name}" for name in said]
    assert lines[6] == f"{evaluate.STREAMED['clauses']}: 1 of 1 texts sound the same as whole ones, sample by sample"


def test_ways_of_cutting_are_compared_on_the_same_sentences(
    voice: ServedVoice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each sentence is spoken either way; errors are pooled over words, and differences are those of the same words."""
    heard = iter((["hello world", "one three"], ["hello world", "one two three four"]))
    monkeypatch.setattr(evaluate_pieces, "transcripts", lambda speech, *_: next(heard) if len(speech) == 2 else None)
    sentences = ["Hello world.", "One two three."]
    found = [evaluate_pieces.measure(voice, sentences, pieces, Cache(tmp_path), 1) for pieces in evaluate_pieces.PIECES]
    assert [(each.errors, each.words) for each in found] == [([0, 1], [2, 3]), ([0, 1], [2, 3])]
    rows = evaluate_pieces.table(found).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| clauses", "| words"]
    assert all(" 20.0 % [" in row and " +0.0 [+0.0, +0.0] " in row for row in rows)


def test_sentences_of_books_are_always_the_same(tmp_path: Path) -> None:
    """Of a middling length, with a capital and a full stop; too few are refused."""
    path = tmp_path / "sentences.txt.gz"
    lines = [" ".join(["word"] * count) for count in range(1, 30)]
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines))
    found = evaluate_pieces.sentences_of_books(path, 5)
    assert found == evaluate_pieces.sentences_of_books(path, 5)
    assert all(8 <= len(sentence.split()) <= 16 and sentence.startswith("Word ") for sentence in found)
    assert all(sentence.endswith("word.") for sentence in found)
    with pytest.raises(ValueError, match=r"^expected 20 sentences of 8 to 16 words, got 9$"):
        evaluate_pieces.sentences_of_books(path, 20)


def test_other_bundles_are_refused() -> None:
    """A codec says nothing."""
    with (
        pytest.raises(ValueError, match="expected the bundle of a voice, got codec-16k@"),
        serving(Path(evaluate.BUNDLE).parent / "codec-16k"),
    ):
        pass
