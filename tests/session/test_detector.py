"""The second lane of a session: events, the gate, and what they may not change."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.bundle.manifest import read_manifest
from streamer.errors import StreamTimeout
from streamer.session.detector import SpeechDetector
from streamer.session.messages import (
    ClientMessage,
    Config,
    End,
    Endpointing,
    Finalize,
    Finalized,
    Result,
    SpeechEvent,
    Vad,
)
from streamer.session.session import Session
from streamer.tasks.vad import Detection, DetectSpeech
from tests.session.driver import Driver, config, packets
from tests.tasks import toy
from tests.toys import write_listener
from tests.toys.listener import FRAME, LATE

RULES = Endpointing(silence_after_speech_s=0.4, silence_without_speech_s=3.0)
VAD = Vad(events=True, gate=True, threshold=0.2, min_speech_s=0.0, min_silence_s=0.1)
SENTENCE = [
    *[("", 2000), ("▁he", 50), ("llo", 50), ("", 120), ("▁wor", 40), ("ld", 60), ("", 3000)],
    *[("▁a", 60), ("", 130), ("▁to", 50), ("s", 50), ("", 90), ("▁two", 60), ("", 1500)],
]
FAST = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return Detection.of(read_manifest(write_listener(tmp_path_factory.mktemp("listener"))))


class Lanes(Driver):
    """A driver with a toy detector that runs all its steps first, or its last ones late if `is_slow`."""

    def __init__(self, folder: Path, detection: Detection, is_slow: bool = False) -> None:
        super().__init__(folder)
        self.detection = detection
        self.is_slow = is_slow
        self.late = np.zeros(LATE, np.float32)
        self.steps = 0

    def detector(self) -> SpeechDetector | None:
        assert self.session.config is not None
        vad = self.session.config.vad
        rate = self.session.config.sample_rate
        return SpeechDetector(DetectSpeech(self.detection, vad), rate) if vad.wanted else None

    def send(self, message: ClientMessage, now: float | None = None, run: bool = True) -> None:
        self.now = self.now if now is None else now
        self.session.receive(message, self.now)
        if isinstance(message, Config):
            self.session.open(self.task(), "toy@1.0.0", self.now, self.detector())
        self.run()

    def run(self, most: int | None = None) -> None:
        """Run both lanes until neither has a step."""
        while self.lane() or self.first_lane():
            self.said += self.session.take_messages()
        self.said += self.session.take_messages()

    def first_lane(self) -> bool:
        step = self.session.next_step(self.now)
        if step is not None:
            self.steps += 1
            self.session.complete(self.model.run(step), self.now)
        return step is not None

    def lane(self) -> bool:
        if self.is_slow and self.first_lane():
            return True
        step = self.session.next_detection()
        if step is not None:
            loud = np.abs(step.inputs["pcm"]).reshape(-1, FRAME).mean(1) >= 0.025
            line = np.concatenate([self.late, 0.9 * loud.astype(np.float32)])
            self.late = line[-LATE:]
            self.session.complete_detection({"speech": line[:-LATE]}, self.now)
        return step is not None

    def reborn(self) -> None:
        snapshot = json.loads(json.dumps(self.session.snapshot(), allow_nan=False))
        detector = self.detector()
        self.session = Session.restored(snapshot, self.settings, self.task(), self.now, detector)

    def events(self) -> list[SpeechEvent]:
        return [message for message in self.said if isinstance(message, SpeechEvent)]


def run(lanes: Lanes, messages: list[ClientMessage], vad: Vad = VAD, rate: int = toy.RATE) -> Lanes:
    for message in [config(rate, endpointing=RULES, vad=vad), *messages, End()]:
        lanes.send(message)
    return lanes


def texts(lanes: Lanes) -> list[str]:
    return [final.text for final in lanes.finals()]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_events_come_in_wire_samples(folder: Path, detection: Detection, rate: int) -> None:
    """Each stretch of sound begins and ends within two frames of where it does, at the client's rate."""
    audio = toy.speech(SENTENCE, rate)
    lanes = run(Lanes(folder, detection), [*packets(audio, [1000])], replace(VAD, gate=False, threshold=0.5), rate)
    loud = np.flatnonzero(audio)
    edges = np.flatnonzero(np.diff(loud) > 0.1 * rate)
    expected = [loud[0], *(sample for edge in edges for sample in (loud[edge] + 1, loud[edge + 1])), loud[-1] + 1]
    assert [event.kind for event in lanes.events()] == ["speech_start", "speech_end"] * (len(expected) // 2)
    for event, sample in zip(lanes.events(), expected, strict=True):
        assert abs(event.sample - sample) <= 2 * FRAME * rate // toy.RATE


def test_a_gate_spares_silence_and_changes_no_text(folder: Path, detection: Detection) -> None:
    """Most chunks of silence are never run; words, times and ends of turns are those of a stream without a gate."""
    audio = packets(toy.speech(SENTENCE), [1600])
    gated = run(Lanes(folder, detection), audio)
    plain = run(Lanes(folder, detection), audio, replace(VAD, gate=False))
    assert [replace(final, confidence=0, words=()) for final in gated.finals()] == [
        replace(final, confidence=0, words=()) for final in plain.finals()
    ]
    assert texts(gated) == ["hello world", "a tos two"]
    assert gated.steps < 0.55 * plain.steps
    assert gated.events() == plain.events()


@FAST
@given(
    sizes=st.lists(st.integers(1, 16000), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 115_000), max_size=3),
    is_slow=st.booleans(),
)
def test_a_gated_text_does_not_depend_on_packets_or_pace(
    folder: Path, detection: Detection, sizes: list[int], cuts: list[int], is_slow: bool
) -> None:
    """With finalizes at any samples, packets of any size and a detector that lags or not: the same messages."""
    audio, edges = toy.speech(SENTENCE), [0, *sorted(cuts), len(toy.speech(SENTENCE))]
    told = []
    for packet in (sizes, [1600]):
        messages: list[ClientMessage] = []
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            parts = [replace(part, first_sample=None) for part in packets(audio[start:end], packet)]
            messages += [*parts, Finalize(str(number))]
        lanes = run(Lanes(folder, detection, is_slow and packet is sizes), messages)
        told.append(lanes)
    kept = [
        [m for m in lanes.said if isinstance(m, Finalized) or (isinstance(m, Result) and m.is_final)] for lanes in told
    ]
    assert kept[0] == kept[1]
    assert told[0].events() == told[1].events()
    assert told[0].steps == told[1].steps


@FAST
@given(place=st.integers(0, 72))
def test_both_lanes_can_be_written_down(folder: Path, detection: Detection, place: int) -> None:
    """A session restored from JSON in the middle of speech or silence says what the first one would have said."""
    audio = packets(toy.speech(SENTENCE), [1600])
    whole = run(Lanes(folder, detection), audio)
    lanes = Lanes(folder, detection)
    lanes.send(config(endpointing=RULES, vad=VAD))
    for index, message in enumerate([*audio, End()]):
        if index == place:
            lanes.reborn()
        lanes.send(message)
    assert lanes.without_flow() == whole.without_flow()
    assert lanes.steps == whole.steps


def test_a_chunk_that_waits_for_more_audio_is_not_work(folder: Path, detection: Detection) -> None:
    """A client that falls silent while a chunk is held back is idle, not waiting for the server."""
    lanes = Lanes(folder, detection)
    lanes.send(config(endpointing=RULES, vad=VAD))
    lanes.send(packets(np.zeros(2000, np.float32), [2000])[0])
    assert lanes.session.buffered_samples > 0
    with pytest.raises(StreamTimeout, match=r"^no message within 30 s$"):
        lanes.session.tick(31.0)


def test_what_the_last_speech_said_is_flushed(folder: Path, detection: Detection) -> None:
    """An end in the middle of a word, and a stream of nothing but silence, both end well under a gate."""
    audio = toy.speech([("", 900), ("▁he", 50), ("llo", 50)])
    lanes = run(Lanes(folder, detection), [*packets(audio, [1000])])
    assert texts(lanes) == ["hello"]
    assert lanes.events()[-1] == SpeechEvent("speech_end", len(audio))
    silent = run(Lanes(folder, detection), [*packets(np.zeros(80_000, np.float32), [1000])])
    assert (texts(silent), silent.events(), silent.steps) == ([], [], 0)
