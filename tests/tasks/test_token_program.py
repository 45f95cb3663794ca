"""The program of voices of tokens: which calls it makes, and what becomes of rows that fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import ModelFault
from streamer.session.messages import End
from streamer.tasks.token_asks import padded_length
from streamer.tasks.token_drawing import Sampling, draw_token, utterance_seed
from streamer.work import Result
from tests.session.speech_driver import FILE, SpeechBench
from tests.tasks.test_voice_program import FAULT, Spied
from tests.toys.token_voice import AHEAD, CHUNK, LOGITS, write_token_voice

TEXT = "Good zork. Hello"


@pytest.fixture
def bench(tmp_path: Path) -> SpeechBench:
    return SpeechBench(tmp_path, write_token_voice)


def test_streams_share_calls(bench: SpeechBench) -> None:
    """A step reads and makes one chunk: a call of the language model for each token, then one of each graph after."""
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    streams = [bench.open(FILE, slot) for slot in range(3)]
    for stream in streams:
        stream.send("Good zork, hello morning world. ")
    bench.step(*streams)
    assert spied.calls[0] == ("spell", 3)
    assert spied.calls[1:-3] == [("lm_step", 3)] * (CHUNK + AHEAD)
    assert spied.calls[-3:] == [("flow_encode_step", 3), ("flow_step", 3), ("vocoder_step", 3)]
    spied.calls.clear()
    bench.step(*streams)
    assert Counter(spied.calls) == {
        ("lm_step", 3): CHUNK,
        ("flow_encode_step", 3): 1,
        ("flow_step", 3): 1,
        ("vocoder_step", 3): 1,
    }


def test_streams_that_are_not_as_far_are_called_together_where_they_meet(bench: SpeechBench) -> None:
    """One begins with its second utterance when the other is in its first; sound waits for the tokens of both."""
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    streams = [bench.open(FILE, slot) for slot in range(2)]
    streams[0].send("Good morning hello world. ")
    bench.step(streams[0])
    streams[1].send("Good morning world. ")
    spied.calls.clear()
    bench.step(*streams)
    lm = [rows for graph, rows in spied.calls if graph == "lm_step"]
    assert lm == [2] * CHUNK + [1] * AHEAD
    assert spied.calls[len(lm) :] == [("flow_encode_step", 2), ("flow_step", 2), ("vocoder_step", 2)]


SPOILED = {
    "spelling": ("spell", FAULT),
    "language model": ("lm_step", FAULT),
    "encoder": ("flow_encode_step", FAULT),
    "flow": ("flow_step", FAULT),
    "vocoder": ("vocoder_step", FAULT),
    "other logits": ("lm_step", Result({"logits": np.zeros(LOGITS - 1, np.float32)})),
    "too few frames": ("flow_encode_step", Result({"mu": np.zeros((3, 4), np.float32)})),
    "no audio": ("vocoder_step", Result({"pcm": np.zeros((0, 160), np.float32)})),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_fault_is_its_own_streams(bench: SpeechBench, name: str) -> None:
    """Whatever a graph does to one row, only its stream ends, and the others say what they would have said."""
    alone = bench.whole(FILE, TEXT).pcm
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    streams = [bench.open(FILE, slot) for slot in range(3)]
    for stream in streams:
        stream.send(TEXT)
        stream.send(End())
    spied.spoiled = (SPOILED[name][0], 1, SPOILED[name][1])
    bench.run(*streams)
    assert isinstance(streams[1].session.error, ModelFault)
    assert streams[0].pcm == streams[2].pcm == alone


def test_lengths_are_padded_to_powers_of_two() -> None:
    """So that few of them are different; not beyond what there is."""
    assert [padded_length(count, 12) for count in (0, 1, 2, 3, 4, 5, 8, 9, 12)] == [1, 1, 2, 4, 4, 8, 8, 12, 12]


def test_numbers_depend_on_seed_utterance_and_token() -> None:
    """And on nothing else; another utterance of the same seed has others."""
    sampling = Sampling(1.0, 1000, 10, 1.0)
    logits = np.zeros(1000, np.float32)

    def drawn(seed: int, said: list[int]) -> int:
        return draw_token(logits, said, seed, sampling)

    assert drawn(5, []) == drawn(utterance_seed(5, 0), []) == drawn(5, [])
    others = [drawn(6, []), drawn(utterance_seed(5, 1), []), drawn(5, [3]), drawn(5, [])]
    assert len({*others}) == 4
    assert drawn(5, [3, 4]) == drawn(5, [8, 9])


def test_what_was_said_lately_gives_way_to_all_others() -> None:
    """Where it is all that is likely, and not before it was said as often as it may."""
    logits = np.log(np.array([0.9, 0.06, 0.04], np.float32))
    sampling = Sampling(0.8, 25, 10, 0.1)
    seen = {name: {draw_token(logits, said, seed, sampling) for seed in range(40)} for name, said in SAID.items()}
    assert seen == {"nothing": {0}, "lately": {1, 2}, "long ago": {0}}


SAID = {"nothing": [], "lately": [0, *[2] * 9], "long ago": [0, *[2] * 10]}
