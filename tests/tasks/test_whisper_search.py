"""Streams of Whisper's host loop on the scripted model: nothing is lost or doubled at cuts, and finals stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.tasks.base import Task
from streamer.tasks.decoding import Decoding
from streamer.tasks.endpoint import Endpointing
from tests.tasks import whisper_toy as toy
from tests.tasks.whisper_runs import BEAM, GREEDY, Served, chunks_of, finals, padding_of, text

NO_ENDPOINTS = Endpointing(enabled=False)


def talk(seconds: float, every: int = 12, first: int = 7, pauses: tuple[tuple[float, float], ...] = ()) -> Any:
    """Tokens one after the other, `every` frames, but in `pauses` (from and to second) between words; and the audio."""
    frames = round(seconds * 50)
    spoken, token = [], 0
    for frame in range(first, frames, every):
        if token % 2 or not any(begin * 50 <= frame < end * 50 for begin, end in pauses):
            spoken.append((frame, token))
            token += 1
    return spoken, toy.speech(spoken, frames)


@pytest.mark.parametrize("decoding", [GREEDY, BEAM])
@pytest.mark.parametrize("sure", [0, 4])
@pytest.mark.parametrize("seconds", [35, 120])
def test_long_speech_is_whole(tmp_path: Path, seconds: int, sure: int, decoding: Decoding) -> None:
    """Minutes without a pause, in windows of 3 or 6 s: every token once, also where the model corrects itself."""
    spoken, audio = talk(seconds, every=16)
    served = Served(tmp_path, sure=sure, gran=5 if seconds < 60 else 10, max_frames=300 if sure else 150)
    said = served.transcribe(audio, served.task(NO_ENDPOINTS, decoding))
    assert text(said) == toy.text_of(spoken)


@pytest.mark.parametrize("gran", [1, 2, 15, 25])
def test_chunks_of_any_length(tmp_path: Path, gran: int) -> None:
    """Text is whole for chunks of 20 ms to half a second, decoded at every chunk or at some."""
    spoken, audio = talk(40, every=14)
    served = Served(tmp_path, gran=gran, max_frames=300, decode_every=3 if gran < 3 else 1)
    assert text(served.transcribe(audio)) == toy.text_of(spoken)


def test_the_real_window(tmp_path: Path) -> None:
    """Windows of 30 s, chunks of 300 ms, and a minute and a half of speech."""
    spoken, audio = talk(90, every=13)
    served = Served(tmp_path, gran=15, max_frames=1500)
    assert text(served.transcribe(audio)) == toy.text_of(spoken)


def test_a_model_of_whole_windows(tmp_path: Path) -> None:
    """An offline model hears window after window; what ends in one is said by it."""
    spoken, audio = talk(20, every=12)
    served = Served(tmp_path, late=0, gran=150, extra=0, max_frames=150, max_tokens_per_chunk=40)
    said = served.transcribe(audio, served.task(NO_ENDPOINTS))
    # A word that goes on in the next window is one of its own there.
    assert text(said).replace(" ", "") == toy.text_of(spoken).replace(" ", "")


def test_pauses_end_segments_and_words_have_their_times(tmp_path: Path) -> None:
    """Each utterance is a segment with a window of its own; a word starts where its first token was heard."""
    spoken, audio = talk(20, every=10, pauses=((3, 6), (9, 12.5), (16, 17.5)))
    served = Served(tmp_path)
    said = served.transcribe(audio)
    assert text(said) == toy.text_of(spoken)
    assert len(finals(said)) == 4
    starts = [word.start_sample // toy.FRAME for final in finals(said) for word in final.words]
    assert starts == [frame for frame, token in spoken if token % 2 == 0]


def test_a_long_utterance_rolls_at_a_pause(tmp_path: Path) -> None:
    """A pause that is too short for an endpoint opens a new window, and a word after it is a word of its own."""
    spoken, audio = talk(6, every=10, pauses=((2.2, 3.2),))
    served = Served(tmp_path, roll_frames=100)
    task = served.task()
    said = served.transcribe(audio, task)
    assert text(said) == toy.text_of(spoken)
    assert len(finals(said)) == 1


def test_a_new_window_begins_a_word(tmp_path: Path) -> None:
    """Where the model begins a text it writes no space; after the words of another window there is one."""
    spoken = [(10, 0), (60, 1), (110, 3), (120, 4)]
    served = Served(tmp_path, roll_frames=30, pause_frames=25, max_frames=150)
    said = served.transcribe(toy.speech(spoken, 150))
    assert text(said) == "w0 x1 x3 w4"


def test_finals_and_stable_text_stay(tmp_path: Path) -> None:
    """No interim takes back what an earlier one called stable, and finals number segments in order."""
    _, audio = talk(30, every=9, pauses=((8, 10), (15, 15.8)))
    served = Served(tmp_path, sure=5)
    for decoding in (GREEDY, BEAM):
        stable: dict[int, str] = {}
        said = served.transcribe(audio, served.task(Endpointing(max_segment_s=4), decoding))
        for each in said:
            assert each.text.startswith(stable.get(each.segment_id, ""))
            stable[each.segment_id] = each.text[: each.stable_chars]
        assert [final.segment_id for final in finals(said)] == list(range(len(finals(said))))
        assert len(finals(said)) > 6


def test_segments_are_cut_between_words(tmp_path: Path) -> None:
    """The longest segment hands its last word to the next, whole, even across windows."""
    spoken, audio = talk(30, every=9)
    served = Served(tmp_path)
    said = served.transcribe(audio, served.task(Endpointing(max_segment_s=2)))
    assert text(said) == toy.text_of(spoken)
    assert len(finals(said)) > 10
    assert all(final.text.startswith("w") for final in finals(said))


def test_state_does_not_grow(tmp_path: Path) -> None:
    """What a task remembers of two minutes is no more than of half a minute."""
    _, audio = talk(120, every=16)
    served = Served(tmp_path)
    task = served.task(Endpointing(max_segment_s=5))
    sizes = []
    for chunk in chunks_of(task, audio):
        served.step({0: task}, {0: chunk})
        sizes.append(len(json.dumps(task.state())))
    assert max(sizes[len(sizes) // 2 :]) < 1.2 * max(sizes[: len(sizes) // 4])


def test_a_short_stream_is_heard(tmp_path: Path) -> None:
    """Audio shorter than the first block is decoded with the silence that the end adds."""
    served = Served(tmp_path, gran=15)
    assert text(served.transcribe(toy.speech([(2, 4)], 4))) == "w4"
    assert text(served.transcribe(np.zeros(1, np.float32))) == ""


def test_silence_says_nothing(tmp_path: Path) -> None:
    """Half a minute of silence is no text, whatever the rules, and does not end in a fault."""
    served = Served(tmp_path)
    for rules in (Endpointing(), NO_ENDPOINTS, Endpointing(silence_without_speech_s=0.1)):
        assert served.transcribe(toy.speech([], 1500), served.task(rules)) == []


def test_finalize_in_a_word_closes_it(tmp_path: Path) -> None:
    """What was heard of a word is final, and the rest opens the next segment."""
    spoken, audio = talk(4, every=10)
    half = len(audio) // 2 // (5 * toy.FRAME) * 5 * toy.FRAME
    served = Served(tmp_path)
    task = served.task()
    tasks, said = {0: task}, []
    for part in (audio[:half], audio[half:]):
        for chunk in chunks_of(task, part):
            said += served.step(tasks, {0: chunk})[0]
        for chunk in padding_of(task, part):
            said += served.step(tasks, {0: chunk}, is_padded=True)[0]
        said += task.finish_segment()
    assert text(said) == toy.text_of(spoken)
    assert len(finals(said)) == 2


def test_rules_change_at_once(tmp_path: Path) -> None:
    """After an update a shorter silence ends the segment."""
    _, audio = talk(4, every=10, pauses=((1, 2), (2.6, 3.6)))
    served = Served(tmp_path)
    task = served.task()
    tasks, said = {0: task}, []
    for index, chunk in enumerate(chunks_of(task, audio)):
        if index == 20:
            assert not finals(said)
            task.update(Endpointing(silence_after_speech_s=0.4))
        said += served.step(tasks, {0: chunk})[0]
    assert [final.end_of_turn for final in finals(said)] == [True, True]


def test_a_gap_starts_the_model_anew(tmp_path: Path) -> None:
    """Skipped silence counts as such, the segment goes on after a short one, and times go on too."""
    served = Served(tmp_path)
    for skipped, segments in ((5, 1), (30, 2)):
        task = served.task()
        tasks, said = {0: task}, []
        one = toy.speech([(5, 0), (15, 1)], 40)
        two = toy.speech([(12, 2), (22, 3)], 60)
        for chunk in chunks_of(task, one):
            said += served.step(tasks, {0: chunk})[0]
        for _ in range(skipped):
            said += task.skip()
        for chunk in chunks_of(task, two):
            said += served.step(tasks, {0: chunk})[0]
        said += task.finish_segment()
        assert text(said) == "w0x1 w2x3"
        assert len(finals(said)) == segments
        begin = (len(chunks_of(task, one)) + skipped) * 5
        assert finals(said)[-1].words[-1].start_sample == (begin + 12) * toy.FRAME


def test_alternatives_are_texts_of_the_beam(tmp_path: Path) -> None:
    """As many as are asked for, the final text first, and none twice."""
    _, audio = talk(3, every=10)
    served = Served(tmp_path)
    said = served.transcribe(audio, served.task(NO_ENDPOINTS, Decoding("beam", 4, n_best=3)))
    (final,) = finals(said)
    texts = [alternative.text for alternative in final.alternatives]
    assert texts[0] == final.text
    assert len(set(texts)) == len(texts)
    assert 1 < len(texts) <= 3


def interleaved(served: Served, inputs: dict[int, Any], make: Any, seed: int, is_saved: bool = False) -> dict[int, Any]:
    """Streams that come and go in one batch, perhaps written down and restored between steps."""
    rng = np.random.default_rng(seed)
    tasks: dict[int, Task] = {slot: make(slot) for slot in inputs}
    queues = {slot: chunks_of(tasks[slot], audio) for slot, audio in inputs.items()}
    said: dict[int, list[Any]] = {slot: [] for slot in inputs}
    while any(queues.values()):
        batch = [slot for slot in queues if queues[slot] and rng.random() < 0.6]
        rng.shuffle(batch)
        if batch:
            for slot, news in served.step(tasks, {slot: queues[slot].pop(0) for slot in batch}).items():
                said[slot] += news
        for slot in batch if is_saved else ():
            plain = json.loads(json.dumps(tasks[slot].state(), allow_nan=False))
            tasks[slot] = make(slot)
            tasks[slot].restore(plain)
    return {slot: [*said[slot], *tasks[slot].finish_segment()] for slot in inputs}


@pytest.mark.parametrize("is_saved", [False, True])
def test_company_changes_nothing(tmp_path: Path, is_saved: bool) -> None:
    """Streams of both searches in any interleaving say what each says alone, also if they are saved at every step."""
    served = Served(tmp_path, sure=3)
    inputs = {slot: talk(12, every=8 + slot, first=3 * slot, pauses=((4, 4 + slot),))[1] for slot in range(4)}

    def make(slot: int) -> Task:
        return served.task(Endpointing(max_segment_s=4), (GREEDY, BEAM)[slot % 2])

    expected = {slot: interleaved(served, {slot: audio}, make, 0)[slot] for slot, audio in inputs.items()}
    assert interleaved(served, inputs, make, 1, is_saved) == expected
    assert all(len(finals(said)) > 2 for said in expected.values())
