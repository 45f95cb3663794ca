"""Our voice behind a host: whole texts and texts that come in words sound the same; where steps meet is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts import evaluate, served  # noqa: E402
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


def test_other_bundles_are_refused() -> None:
    """A codec says nothing."""
    with (
        pytest.raises(ValueError, match="expected the bundle of a voice, got codec-16k@"),
        serving(Path(evaluate.BUNDLE).parent / "codec-16k"),
    ):
        pass
