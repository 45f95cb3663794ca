"""The host loop of greedy recognisers, without a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import ModelFault
from streamer.tasks.base import Transcript
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.recogniser import Recogniser
from streamer.tasks.search import GreedySearch
from streamer.tasks.transcribe import Transcribe
from streamer.tasks.words import Spelling, spell
from tests.tasks import toy

FRAMES = 5
SILENCE: list[str] = []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    toy.write_tokens(tmp_path)
    return tmp_path


def transcribe(folder: Path, **rules: Any) -> Transcribe:
    recogniser = Recogniser.of(toy.parsed(toy.manifest()), folder)
    return Transcribe(recogniser, Endpointing(**rules), GreedySearch(recogniser))


def outputs(*pieces: str, logp: float = -0.1) -> dict[str, np.ndarray]:
    """One chunk whose first frames hold `pieces`."""
    ids = np.zeros(FRAMES, np.int64)
    ids[: len(pieces)] = [toy.IDS[piece] for piece in pieces]
    return {"ids": ids, "logp": np.full(FRAMES, logp, np.float32)}


def feed(task: Transcribe, *chunks: list[str], is_padded: bool = False) -> list[Transcript]:
    said = []
    for pieces in chunks:
        task.step(np.zeros(toy.CHUNK, np.float32))
        said += task.complete(outputs(*pieces), is_padded)
    return said


def brief(said: list[Transcript]) -> list[tuple[int, int, str, bool]]:
    return [(item.segment_id, item.revision, item.text, item.is_final) for item in said]


def test_describes_its_graph(folder: Path) -> None:
    """What the session needs to cut audio comes from the manifest."""
    task = transcribe(folder)
    assert (task.sample_rate, task.chunk_samples, task.hop_samples) == (16000, toy.CHUNK, toy.HOP)
    assert (task.delay_samples, task.flush_samples) == (toy.HOP + toy.RIGHT + 320, toy.FLUSH)


def test_steps_start_groups(folder: Path) -> None:
    """All groups start at first, then none; after an endpoint only the search."""
    task, chunk = transcribe(folder, silence_after_speech_s=0.1), np.ones(toy.CHUNK, np.float32)
    step = task.step(chunk)
    assert (step.target, step.start) == ("step", {"encoder", "search"})
    assert step.inputs["pcm"] is chunk
    assert task.step(chunk).start == {"encoder", "search"}
    feed(task, ["▁a"])
    assert task.step(chunk).start == frozenset()
    assert feed(task, SILENCE, SILENCE)[-1].is_final
    assert task.step(chunk).start == {"search"}
    feed(task, SILENCE)
    assert task.step(chunk).start == frozenset()
    task.finish_segment()
    assert task.step(chunk).start == {"search"}


def test_interims_that_nobody_wants_cost_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are spelt once, for the final, so a long segment costs no more per step than a short one."""
    spelt = []

    def counting(*arguments: Any) -> list[Spelling]:
        spelt.append(arguments)
        return spell(*arguments)

    monkeypatch.setattr("streamer.tasks.transcribe.spell", counting)
    task = transcribe(folder)
    assert [task.complete(outputs("▁a"), interims=False) for _ in range(10)] == [[]] * 10
    assert spelt == []
    assert brief(list(task.finish_segment())) == [(0, 0, " ".join("a" * 10), True)]
    assert len(spelt) == 1


def test_a_bundle_without_search(folder: Path) -> None:
    """A bundle with other groups starts nothing at an endpoint."""
    data = toy.manifest()
    data["states"][1]["group"] = "encoder"
    data["graphs"][0]["groups"] = ["encoder"]
    recogniser = Recogniser.of(toy.parsed(data), folder)
    task = Transcribe(recogniser, Endpointing(), GreedySearch(recogniser))
    feed(task, ["▁a"])
    task.finish_segment()
    assert task.step(np.zeros(toy.CHUNK, np.float32)).start == frozenset()


def test_interims_when_the_text_changes(folder: Path) -> None:
    """Revisions count up; silence and special tokens say nothing; the last word is not stable yet."""
    said = feed(transcribe(folder), ["▁he"], ["<unk>"], ["llo"], SILENCE, ["▁wor", "ld"], ["▁"])
    assert brief(said) == [(0, 0, "he", False), (0, 1, "hello", False), (0, 2, "hello world", False)]
    assert [item.stable_chars for item in said] == [0, 0, 5]
    assert not said[0].end_of_turn


def test_final_after_silence(folder: Path) -> None:
    """Silence after speech ends the turn; the next segment has the next number and starts at revision 0."""
    task = transcribe(folder, silence_after_speech_s=0.1)
    said = feed(task, ["▁he", "llo"], SILENCE, SILENCE, SILENCE, ["▁a"])
    assert brief(said) == [(0, 0, "hello", False), (0, 1, "hello", True), (1, 0, "a", False)]
    assert (said[1].end_of_turn, said[1].stable_chars) == (True, 5)
    assert said[1].confidence == pytest.approx(np.exp(-0.1), abs=1e-6)


def test_silence_alone_says_nothing(folder: Path) -> None:
    """An empty segment has no final, and does not use up a number."""
    task = transcribe(folder, silence_without_speech_s=0.1)
    assert feed(task, *[SILENCE] * 10) == []
    assert list(task.finish_segment()) == []
    assert feed(task, ["▁a"])[0].segment_id == 0


def test_special_tokens_are_silence(folder: Path) -> None:
    """`<unk>` neither is speech nor keeps a segment open."""
    task = transcribe(folder, silence_after_speech_s=0.1)
    assert brief(feed(task, ["▁a"], ["<unk>"], ["<unk>"], ["<unk>"])) == [(0, 0, "a", False), (0, 1, "a", True)]


def test_padding_is_no_pause(folder: Path) -> None:
    """Silence that the session made up ends no turn."""
    task = transcribe(folder, silence_after_speech_s=0.1)
    feed(task, ["▁a"])
    assert feed(task, *[SILENCE] * 10, is_padded=True) == []
    (final,) = task.finish_segment()
    assert (final.text, final.is_final, final.end_of_turn) == ("a", True, False)
    assert list(task.finish_segment()) == []


def test_long_segments_are_cut_between_words(folder: Path) -> None:
    """At the maximal length the word in progress moves on with its tokens, and the search goes on."""
    task = transcribe(folder, max_segment_s=0.1)
    said = feed(task, ["▁he", "llo"], ["▁wor"], ["ld"], SILENCE)
    assert brief(said) == [
        (0, 0, "hello", False),
        (0, 1, "hello", True),
        (1, 0, "wor", False),
        (1, 1, "world", False),
    ]
    assert not said[1].end_of_turn
    assert task.step(np.zeros(toy.CHUNK, np.float32)).start == frozenset()
    (final,) = task.finish_segment()
    assert final.text == "world"
    assert said[1].words[-1].end_sample <= final.words[0].start_sample == 3 * toy.FRAME


def test_one_endless_word_is_cut_at_twice_the_length(folder: Path) -> None:
    """A word that does not end is cut in the end; what follows opens the next segment."""
    task = transcribe(folder, max_segment_s=0.1)
    said = feed(task, ["▁he"], ["llo"], ["s"], ["llo"], ["s"])
    assert [item.text for item in said if item.is_final] == ["hellosllo"]
    assert brief(said)[-1] == (1, 0, "s", False)


def test_a_cut_without_text_changes_nothing(folder: Path) -> None:
    """Tokens without text are no words: the segment and its revisions go on."""
    task = transcribe(folder, max_segment_s=0.1)
    said = feed(task, ["▁", "▁he"], ["llo"], SILENCE, ["s"])
    assert brief(said) == [(0, 0, "he", False), (0, 1, "hello", False), (0, 2, "hellos", False)]


def test_silence_before_a_word_does_not_count_as_length(folder: Path) -> None:
    """The length of a segment counts from its first word."""
    task = transcribe(folder, max_segment_s=0.2)
    said = feed(task, *[SILENCE] * 10, ["▁a"], ["▁to"], ["▁a"])
    assert not any(item.is_final for item in said)


def test_disabled_rules(folder: Path) -> None:
    """Without rules only `finish_segment` closes a segment."""
    task = transcribe(folder, enabled=False)
    assert brief(feed(task, ["▁a"], *[SILENCE] * 100)) == [(0, 0, "a", False)]
    assert brief(list(task.finish_segment())) == [(0, 1, "a", True)]


def test_update_changes_the_rules(folder: Path) -> None:
    """New rules hold from the next step on."""
    task = transcribe(folder)
    feed(task, ["▁a"], *[SILENCE] * 5)
    task.update(Endpointing(silence_after_speech_s=0.1))
    assert feed(task, SILENCE)[0].is_final


def test_word_times(folder: Path) -> None:
    """Times are samples of the stream, less the delay of the tokens, clipped to what was heard."""
    task = transcribe(folder)
    said = feed(task, SILENCE, ["▁he", "llo", "▁wor"])
    words = [(word.word, word.start_sample, word.end_sample) for word in said[-1].words]
    assert words == [("hello", 480, 800), ("wor", 800, 2 * toy.HOP + toy.RIGHT)]
    assert (said[-1].start_sample, said[-1].end_sample) == (480, 1760)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({**outputs(), "ids": np.full(5, 99)}, "expected a token id of the vocabulary, got 99"),
        ({**outputs(), "ids": np.full(5, -1)}, "expected a token id of the vocabulary, got -1"),
        (outputs("▁a", logp=float("nan")), "expected a log-probability of at most 0, got nan"),
        (outputs("▁a", logp=0.5), "expected a log-probability of at most 0, got 0.5"),
    ],
)
def test_model_faults(folder: Path, made: dict[str, np.ndarray], message: str) -> None:
    """Impossible outputs are the model's fault."""
    with pytest.raises(ModelFault) as caught:
        transcribe(folder).complete(made)
    assert str(caught.value) == message


def test_state_goes_through_json(folder: Path) -> None:
    """A restored task goes on as the original, at every chunk."""
    chunks = [["▁he", "llo"], SILENCE, ["▁wor"], ["ld"], *[SILENCE] * 4, ["▁a", "<0xC3>"], ["<0xA9>"], ["s"], SILENCE]
    rules = {"silence_after_speech_s": 0.15, "max_segment_s": 0.2}
    expected = feed(transcribe(folder, **rules), *chunks)
    task, said = transcribe(folder, **rules), []
    for chunk in chunks:
        other = transcribe(folder)
        other.restore(json.loads(json.dumps(task.state(), allow_nan=False)))
        task = other
        said += feed(task, chunk)
    assert said == expected
    assert [item.text for item in said if item.is_final] == ["hello", "world"]


def test_impossible_scores_go_through_json(folder: Path) -> None:
    """Minus infinity is a legal log-probability and has no place in JSON."""
    task = transcribe(folder)
    task.complete(outputs("▁a", logp=float("-inf")))
    json.dumps(task.state(), allow_nan=False)
