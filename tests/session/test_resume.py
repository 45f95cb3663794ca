"""Streams that are taken up again at a resume point: everything final is what an uninterrupted stream says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from streamer.audio.pcm import encode
from streamer.errors import InvalidRequest, TooFast
from streamer.session.intake import Intake
from streamer.session.messages import (
    Audio,
    Config,
    Done,
    End,
    Endpointing,
    Finalize,
    Finalized,
    Flow,
    Ready,
    Result,
    ServerMessage,
    Update,
)
from streamer.session.resume_point import ResumePoint, Resumption
from streamer.session.session import Session, SessionSettings
from tests.session.driver import Driver, config
from tests.session.test_streams import RULES, SENTENCE
from tests.tasks import toy

SETTINGS = SessionSettings(flow_interval_ms=10**9, max_frame_bytes=10**6, resume_interval_ms=0)
# What the toy remembers is far less than four of its chunks.
MEMORY = 4 * toy.HOP
Control = Finalize | Update
RATES = [8000, 16000, 44100, 48000]


@dataclass(frozen=True)
class Life:
    """A stream as its client sees it: audio, and the controls that come after so many samples of it."""

    audio: np.ndarray
    controls: tuple[tuple[int, Control], ...] = ()

    def messages(self, from_sample: int, from_control: int, size: int) -> Iterator[Audio | Control | End]:
        """What is sent from a sample and a control on, in packets of at most `size` samples."""
        at = from_sample
        for place, control in self.controls[from_control:]:
            yield from self._packets(at, place, size)
            yield control
            at = place
        yield from self._packets(at, len(self.audio), size)
        yield End()

    def _packets(self, begin: int, end: int, size: int) -> Iterator[Audio]:
        for at in range(begin, end, size):
            yield Audio(encode(self.audio[at : min(at + size, end)], "pcm_f32le"), at)


@dataclass(frozen=True)
class Kept:
    """A point, what the host keeps beside it, and how much had been said."""

    point: ResumePoint
    search: int
    said: int


class Resumable(Driver):
    """A driver that takes a point after every step, and can begin at one."""

    def __init__(self, folder: Path, memory: int | None = MEMORY, settings: SessionSettings = SETTINGS) -> None:
        super().__init__(folder, settings)
        self.memory = memory
        self.kept: list[Kept] = []
        self.search: int | None = None

    def begin(self, first: Config, kept: Kept | None = None, next_segment: int = 0, age_s: float = 0.0) -> Ready:
        self.session.receive(first, self.now)
        task = self.task()
        point = ResumePoint.of_start(task) if kept is None else through_json(kept.point)
        self.search = kept.search if kept else None
        resumption = Resumption("first", self.memory, point, next_segment, age_s, self.task())
        self.session.open(task, "toy@1.0.0", self.now, resumption=resumption)
        self._restore_search()
        self.said += self.session.take_messages()
        ready = self.said[0]
        assert isinstance(ready, Ready)
        self.run()
        return ready

    def run(self, most: int | None = None) -> None:
        while (most is None or most > 0) and (step := self.session.next_step(self.now)) is not None:
            self.session.complete(self.model.run(step), self.now)
            self._restore_search()
            self.said += self.session.take_messages()
            self._take_point()
            most = None if most is None else most - 1

    def _restore_search(self) -> None:
        if self.search is not None and not self.session.is_warming_up:
            self.model.count, self.search = self.search, None

    def _take_point(self) -> None:
        point = self.session.resume_point(self.now)
        if point is not None:
            self.kept.append(Kept(point, self.model.count, len(self.said)))
            self.session.keep_token(f"token {len(self.kept)}", point, self.now)
            self.said += self.session.take_messages()


def through_json(point: ResumePoint) -> ResumePoint:
    return ResumePoint.of_plain(json.loads(json.dumps(point.to_plain(), allow_nan=False)))


def resumable(rate: int, **changes: object) -> Config:
    return config(rate, endpointing=RULES, resumable=True, **changes)


def whole(folder: Path, rate: int, life: Life, size: int, lazy: int = 0) -> Resumable:
    """An uninterrupted stream; with `lazy`, steps are run at every so many messages only."""
    driver = Resumable(folder)
    driver.begin(resumable(rate))
    for index, message in enumerate(life.messages(0, 0, size)):
        driver.send(message, run=not lazy or index % lazy == 0)
    driver.run()
    return driver


def finals_of(messages: Iterable[ServerMessage], next_segment: int = 0) -> list[Result]:
    results = [message for message in messages if isinstance(message, Result) and message.is_final]
    return [result for result in results if result.segment_id >= next_segment]


def taken_up(folder: Path, rate: int, life: Life, kept: Kept, next_segment: int, size: int = 700) -> Resumable:
    driver = Resumable(folder)
    # What the slot held before must not matter.
    driver.model.late, driver.model.level, driver.model.count = [3, 4], 9, 77
    ready = driver.begin(resumable(rate), kept, next_segment)
    for message in life.messages(ready.next_sample, ready.next_control, size):
        driver.send(message)
    return driver


def check_every_point(folder: Path, rate: int, life: Life, first: Resumable) -> None:
    assert isinstance(first.said[-1], Done)
    for kept in first.kept:
        # The client has read no more than the token, or everything.
        for later in {kept.said, len(first.said) if kept in first.kept[::4] else kept.said}:
            next_segment = max([kept.point.segments, *(r.segment_id + 1 for r in finals_of(first.said[:later]))])
            second = taken_up(folder, rate, life, kept, next_segment)
            assert finals_of(second.said) == finals_of(first.said, next_segment)
            assert second.said[-1] == first.said[-1]
            # Answers that the point did not cover come again.
            answers = [message for message in first.said[kept.said :] if isinstance(message, Finalized)]
            assert [message for message in second.said if isinstance(message, Finalized)] == answers


@pytest.mark.parametrize("rate", RATES)
def test_every_chunk_boundary(folder: Path, rate: int) -> None:
    """Taken up after any chunk, a stream ends with the same finals, words, times and numbers."""
    life = Life(toy.speech(SENTENCE, rate))
    first = whole(folder, rate, life, rate // 9)
    assert len(first.kept) >= 26
    check_every_point(folder, rate, life, first)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("lazy", [0, 3])
def test_every_chunk_boundary_between_controls(folder: Path, rate: int, lazy: int) -> None:
    """Padding that flushes put into the audio is put there again, whatever had acted by then."""
    speech = toy.speech(SENTENCE, rate)
    places = [rate // 10 + 3, rate // 10 + 3, rate * 2 // 5, rate * 2 // 5 + 10, rate * 7 // 10, len(speech)]
    rules = Update(replace(RULES, silence_after_speech_s=0.2))
    controls = [Finalize("a"), Finalize("b"), Finalize("c"), Finalize("d"), rules, Finalize("e")]
    life = Life(speech, tuple(zip(places, controls, strict=True)))
    first = whole(folder, rate, life, rate // 50, lazy)
    check_every_point(folder, rate, life, first)


def test_a_second_cut(folder: Path) -> None:
    """A stream that was taken up can be taken up again, also from points of its second life, also while it warms up."""
    rate = 44100
    life = Life(toy.speech(SENTENCE, rate), ((rate // 3, Finalize("x")),))
    first = whole(folder, rate, life, 4410)
    second = taken_up(folder, rate, life, first.kept[9], 0)
    assert [kept.point.position for kept in second.kept] == [kept.point.position for kept in first.kept[10:]]
    for ours, theirs in zip(second.kept, first.kept[10:], strict=True):
        assert replace(ours.point, said=0, task={}) == replace(theirs.point, said=0, task={})
    check_every_point(folder, rate, life, second)


def test_small_models_replay_nothing(folder: Path) -> None:
    """With all of the model's state beside the point, audio goes on where it was."""
    rate = 48000
    life = Life(toy.speech(SENTENCE, rate), ((rate // 4, Finalize("x")),))
    first = Resumable(folder, memory=0)
    first.begin(resumable(rate))
    models = []
    for message in life.messages(0, 0, 1000):
        first.send(message)
        models += [first.model.fork()] * (len(first.kept) - len(models))
    for kept, model in zip(first.kept, models, strict=True):
        second = Resumable(folder, memory=0)
        second.model = model
        ready = second.begin(resumable(rate), kept, len(finals_of(first.said[: kept.said])))
        assert not second.session.is_warming_up
        assert ready.next_sample >= kept.point.heard - 3 * toy.CHUNK - rate // 100
        for message in life.messages(ready.next_sample, ready.next_control, 1000):
            second.send(message)
        assert finals_of(second.said) == finals_of(first.said[kept.said :])


def test_acking_advances_at_a_distance(folder: Path) -> None:
    """What may be forgotten follows what was received at the distance of the memory, however long the stream."""
    rate = 8000
    driver = Resumable(folder)
    driver.begin(resumable(rate))
    for message in Life(np.tile(toy.speech(SENTENCE, rate), 40)).messages(0, 0, 800):
        driver.send(message)
    flows = [message for message in driver.said if isinstance(message, Flow)]
    acked = [flow.acked_sample for flow in flows]
    assert acked == sorted(acked)
    assert acked[-1] > 39 * 1.31 * rate
    behind = (MEMORY + 2 * toy.CHUNK) // 2 + 800 + 40
    assert all(flow.received_sample - flow.acked_sample <= behind for flow in flows)
    assert [flow.resume_token for flow in flows] == [f"token {index + 1}" for index in range(len(flows))]


def test_points_have_an_interval(folder: Path) -> None:
    """A point is taken at the first chunk boundary after the interval, and only in resumable streams."""
    driver = Resumable(folder, settings=replace(SETTINGS, resume_interval_ms=2000))
    driver.begin(resumable(16000))
    audio = Audio(bytes(4 * toy.HOP))
    for tenth in range(60):
        driver.send(audio, now=tenth / 10)
    assert [flow.acked_controls for flow in driver.said if isinstance(flow, Flow)] == [0, 0]
    plain = Driver(folder, SETTINGS)
    plain.send(config())
    plain.send(audio)
    plain.send(audio)
    assert plain.session.resume_point(9.0) is None
    assert plain.said[0].resume_token is None


def test_without_a_bound_only_the_start_is_a_point(folder: Path) -> None:
    """A model that forgets nothing is fed everything again, and says only what the client lacks."""
    rate = 16000
    life = Life(toy.speech(SENTENCE, rate), ((rate // 3, Finalize("x")),))
    first = Resumable(folder, memory=None)
    ready = first.begin(resumable(rate))
    for message in life.messages(0, 0, 500):
        first.send(message)
    assert (first.kept, ready.resume_token) == ([], "first")
    second = Resumable(folder, memory=None)
    ready = second.begin(resumable(rate), None, next_segment=1)
    assert (ready.next_sample, ready.next_control) == (0, 0)
    for message in life.messages(0, 0, 900):
        second.send(message)
    assert finals_of(second.said) == finals_of(first.said, 1)
    assert not any(isinstance(message, Result) and message.segment_id < 1 for message in second.said)


def test_controls_may_not_come_too_early(folder: Path) -> None:
    """A control before the audio that had been heard without it would change what was heard."""
    rate = 16000
    life = Life(toy.speech(SENTENCE, rate))
    kept = whole(folder, rate, life, 800).kept[12]
    for control, name in ((Finalize(), "finalize"), (Update(Endpointing()), "update"), (End(), "end")):
        driver = Resumable(folder)
        ready = driver.begin(resumable(rate), kept)
        expected = f"^resume: expected audio up to sample {kept.point.heard} again before any control, got {name} at"
        with pytest.raises(InvalidRequest, match=f"{expected} sample {ready.next_sample}$"):
            driver.send(control)


def test_the_pace_counts_from_the_first_opening(folder: Path) -> None:
    """Audio of the past may come at once; what is ahead of the age of the stream may not."""
    rate = 16000
    life = Life(np.zeros(20 * rate, np.float32))
    kept = whole(folder, rate, life, rate).kept[-1]
    for age_s, is_fine in ((30.0, True), (7.0, False)):
        driver = Resumable(folder)
        driver.begin(resumable(rate, mode="live"), kept, age_s=age_s)
        rest = [Audio(bytes(4 * rate))] * 6
        if is_fine:
            for audio in rest:
                driver.send(audio)
        else:
            with pytest.raises(TooFast):
                list(map(driver.send, rest))


def test_a_point_needs_no_padding_that_is_to_come(folder: Path) -> None:
    """In the padding of a control that has not acted there is no place to replay from."""
    intake = Intake(16000, 16000, 160, 160)
    intake.take(np.ones(100, np.float32), 0.0)
    intake.flush(800, 0.0)
    places = []
    for _ in range(6):
        places.append(intake.replay(0))
        intake.advance()
    assert [place.position if place else None for place in places] == [0, None, None, None, None, None]
    # All of the padding is heard, so the control has acted: its padding is made up again.
    assert [(place.position, place.wire_sample) for m in (0, 160, 960) if (place := intake.replay(m))] == [
        (960, 100),
        (800, 100),
        (0, 0),
    ]


def test_what_was_said_is_remembered_for_snapshots(folder: Path) -> None:
    """A restored stream repeats what came after the client's token and was cut off, and nothing that it has."""
    rate = 16000
    life = Life(toy.speech(SENTENCE, rate), ((rate // 3, Finalize("x")),))
    first = whole(folder, rate, life, 800)
    for cut, kept in itertools.product((10, 17, 25), (first.kept[3], first.kept[8])):
        driver = Resumable(folder)
        driver.begin(resumable(rate))
        sent = list(itertools.islice(life.messages(0, 0, 800), cut))
        for message in sent:
            driver.send(message)
        snapshot = json.loads(json.dumps(driver.session.snapshot()))
        model = driver.model
        lacking = [m for m in driver.said[kept.said :] if isinstance(m, Finalized) or finals_of([m])]
        if kept.point.position > driver.kept[-1].point.position:
            continue
        has = len(finals_of(driver.said[: kept.said]))
        second = Resumable(folder)
        second.model = model
        second.session = Session.restored(snapshot, SETTINGS, driver.task(), 0.0)
        assert second.session.take_up(Resumption("t", MEMORY, kept.point, has), 0.0)
        second.said += second.session.take_messages()
        ready = second.said[0]
        assert isinstance(ready, Ready)
        assert ready.next_sample == sum(len(m.data) // 4 for m in sent if isinstance(m, Audio))
        assert second.said[1:] == lacking
        for message in life.messages(ready.next_sample, ready.next_control, 800):
            second.send(message)
        assert finals_of(second.said) == finals_of(first.said, has)
        assert second.said[-1] == first.said[-1]


def test_a_snapshot_that_is_behind_is_not_taken(folder: Path) -> None:
    """A client that has more than the snapshot knows of was served elsewhere meanwhile."""
    rate = 16000
    first = whole(folder, rate, Life(toy.speech(SENTENCE, rate)), 800)
    driver = Resumable(folder)
    driver.begin(resumable(rate))
    for message in itertools.islice(Life(toy.speech(SENTENCE, rate)).messages(0, 0, 800), 12):
        driver.send(message)
    snapshot = driver.session.snapshot()
    restored = Session.restored(snapshot, SETTINGS, driver.task(), 0.0)
    assert not restored.take_up(Resumption("t", MEMORY, first.kept[-1].point, 0), 0.0)
    assert not restored.take_up(Resumption("t", MEMORY, first.kept[2].point, 1), 0.0)
    assert restored.take_messages() == []
    assert restored.take_up(Resumption("t", MEMORY, first.kept[2].point, 0), 0.0)
