"""The program of Whisper: what it calls for a batch, how it tells languages, and what a fault of one stream does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import ModelFault
from streamer.tasks.base import Task
from streamer.tasks.decoding import Decoding
from streamer.work import Array
from tests.tasks import whisper_toy as toy
from tests.tasks.test_whisper_search import NO_ENDPOINTS, talk
from tests.tasks.whisper_runs import BEAM, GREEDY, Served, chunks_of, finals, text


def prompt_of(task: Task) -> list[int]:
    """The prompt of the live window."""
    prompt: list[int] = task.state()["search"]["progress"]["state"]["prompt"]
    return prompt


def test_streams_share_calls(tmp_path: Path) -> None:
    """Streams in step are heard and encoded in one call, and decoded in one call a round, whatever their search."""
    _, audio = talk(2, every=10)
    served = Served(tmp_path, gran=15)
    tasks = {slot: served.task(NO_ENDPOINTS) for slot in range(3)}
    for index in range(4):
        served.model.calls.clear()
        served.step(tasks, {slot: chunks_of(task, audio)[index] for slot, task in tasks.items()})
        assert toy.calls_of(served.model, "listen") == [3]
        assert toy.calls_of(served.model, "encode") == ([] if index == 0 else [3])
        assert set(toy.calls_of(served.model, "decode")) == (set() if index == 0 else {3})


def test_windows_of_a_stream_are_encoded_in_turn(tmp_path: Path) -> None:
    """A shadow is a second call beside the live window, from its first block until it takes over."""
    _, audio = talk(3, every=10)
    served = Served(tmp_path)
    task = served.task(NO_ENDPOINTS)
    counts = []
    for chunk in chunks_of(task, audio):
        served.model.calls.clear()
        served.step({0: task}, {0: chunk})
        counts.append(toy.calls_of(served.model, "encode"))
    # The shadow begins with frame 100 and is heard from 110 on; after 140 frames it takes over.
    assert counts == [[]] + [[1]] * 20 + [[1, 1]] * 7 + [[1]] * (len(counts) - 28)
    assert task.state()["search"]["progress"]["windows"]["live"]["origin"] == 100


def test_a_new_window_catches_up(tmp_path: Path) -> None:
    """After silence it reaches back a second: a first block and the chunks since are encoded by one step."""
    served = Served(tmp_path)
    task = served.task()
    said: list[Any] = []
    counts = []
    for chunk in chunks_of(task, toy.speech([(10, 0), (20, 1)], 120)):
        served.model.calls.clear()
        said += served.step({0: task}, {0: chunk})[0]
        counts.append(len(toy.calls_of(served.model, "encode")))
    assert len(finals(said)) == 1
    # A first block of 10 frames and 9 chunks: the second before the endpoint, and the chunk after it.
    assert max(counts) == 10


def test_some_chunks_may_go_without_decoding(tmp_path: Path) -> None:
    """With `decode_every` only each n-th chunk is decoded, and the flush is long enough for the last one."""
    spoken, audio = talk(3, every=10)
    served = Served(tmp_path, decode_every=3)
    task = served.task(NO_ENDPOINTS)
    assert task.flush_samples == 30 * toy.FRAME + 2 * task.hop_samples
    assert text(served.transcribe(audio, task)) == toy.text_of(spoken)
    every = Served(tmp_path)
    every.transcribe(audio, every.task(NO_ENDPOINTS))
    assert len(toy.calls_of(served.model, "decode")) < 0.6 * len(toy.calls_of(every.model, "decode"))


@pytest.mark.parametrize("decoding", [GREEDY, BEAM])
def test_the_frozen_mode_says_the_same(tmp_path: Path, decoding: Decoding) -> None:
    """The scripted decoder hears only what its cells say, so keeping cells changes nothing but the work."""
    _, audio = talk(14, every=9)
    said = []
    for mode in ("exact", "frozen"):
        served = Served(tmp_path, sure=3, mode=mode, max_frames=300)
        said.append(served.transcribe(audio, served.task(NO_ENDPOINTS, decoding)))
    assert text(said[0]) == text(said[1])


def test_a_language_is_told_to_the_model(tmp_path: Path) -> None:
    """The config's language, or else the bundle's, is in the prompt of every window."""
    served = Served(tmp_path)
    for language, token in (("fr", 2), ("", 0)):
        task = served.task(language=language)
        served.transcribe(talk(5)[1], task)
        expected = [toy.SOT, toy.FIRST_LANGUAGE + token, toy.TRANSCRIBE, toy.NO_TIMESTAMPS]
        assert prompt_of(task) == expected


def test_a_language_is_heard(tmp_path: Path) -> None:
    """Without any, the model is asked once in every window until something was said; then the language stays."""
    served = Served(tmp_path, language=None)
    task = served.task()
    prompts = []
    for index, chunk in enumerate(chunks_of(task, talk(4, first=60)[1])):
        served.model.language = "de" if index < 20 else "fr"
        served.step({0: task}, {0: chunk})
        prompts.append(prompt_of(task))
    german = [toy.SOT, toy.FIRST_LANGUAGE + 1, toy.TRANSCRIBE, toy.NO_TIMESTAMPS]
    assert prompts[0] == []
    assert prompts[1:] == [german] * (len(prompts) - 1)
    assert task.state()["search"]["progress"]["language"] == toy.FIRST_LANGUAGE + 1


def test_a_new_utterance_may_be_in_another_language(tmp_path: Path) -> None:
    """Where the sound tells the language, it does so for every utterance."""
    served = Served(tmp_path, language=None)
    task = served.task()
    for language, token in (("de", 1), ("fr", 2)):
        served.model.language = language
        for chunk in chunks_of(task, talk(2)[1]):
            served.step({0: task}, {0: chunk})
        assert prompt_of(task)[1] == toy.FIRST_LANGUAGE + token
        task.finish_segment()


def test_an_english_model_has_a_short_prompt(tmp_path: Path) -> None:
    """A model of one language knows no token of it, and none for transcribing."""
    served = Served(tmp_path, first_language=-1, language=None)
    task = served.task()
    assert text(served.transcribe(talk(2)[1], task)) != ""
    assert prompt_of(task) == [toy.SOT, toy.NO_TIMESTAMPS]


@pytest.mark.parametrize("graph", ["listen", "encode", "decode"])
def test_a_fault_is_of_one_stream(tmp_path: Path, graph: str) -> None:
    """A row that a graph fails for is a fault of that stream; the others say what they say without it."""
    audio = talk(3, every=10)[1]
    served = Served(tmp_path)
    alone = served.transcribe(audio, served.task(NO_ENDPOINTS))
    tasks = {slot: served.task(NO_ENDPOINTS, (GREEDY, BEAM)[slot % 2]) for slot in range(3)}
    said: list[Any] = []
    for index, chunk in enumerate(chunks_of(tasks[0], audio)):
        served.model.faults = {1: graph} if index >= 9 else {}
        for slot, result in served.run(tasks, dict.fromkeys(tasks, chunk)).items():
            if slot == 1 and index >= 9:
                assert isinstance(result.error, ModelFault)
                del tasks[1]
            else:
                news = tasks[slot].complete(result.outputs)
                said += news if slot == 0 else []
    assert said == alone[: len(said)]
    assert len(said) > 5


def test_a_graph_that_loses_count_is_a_fault(tmp_path: Path) -> None:
    """A model whose graphs count other frames than they were given cannot be told where a word is."""
    served = Served(tmp_path)
    listen = served.model._listen

    def miscounting(*arguments: Any) -> dict[str, Array]:
        return {"heard": np.asarray(listen(*arguments)["heard"] + 2)}

    served.model._listen = miscounting  # type: ignore[method-assign]
    with pytest.raises(ModelFault) as error:
        served.transcribe(talk(1)[1])
    assert str(error.value) == "program whisper: expected graphs that count every frame, got another count"
