"""Resume points of streams with a detector beside them: no event is lost, and finals are those of a whole stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from streamer.bundle.manifest import read_manifest
from streamer.errors import InvalidRequest
from streamer.session.detector import SpeechDetector
from streamer.session.messages import (
    Audio,
    Config,
    Done,
    End,
    Finalize,
    Finalized,
    Flow,
    Ready,
    ServerMessage,
    SpeechEvent,
    Update,
    Vad,
)
from streamer.session.resume_point import Rebuilding, ResumePoint, Resumption
from streamer.session.session import Session, SessionSettings
from streamer.tasks.base import TaskStep
from streamer.tasks.vad import Detection, DetectSpeech
from tests.session.driver import Driver
from tests.session.test_resume import MEMORY, RATES, SETTINGS, Life, finals_of, resumable, through_json
from tests.session.test_streams import RULES, SENTENCE
from tests.tasks import toy
from tests.toys import write_listener
from tests.toys.listener import CHUNK, FRAME, LATE

VAD = Vad(events=True, threshold=0.2, min_speech_s=0.0, min_silence_s=0.05)
# What the toy detector remembers is two frames; a chunk has four.
DETECTOR_MEMORY = CHUNK
# Some rounds of the toy detector for each of the recogniser's: far ahead, in step, behind, and waiting for long.
PACES: dict[str, Callable[[int], int]] = {
    "ahead": lambda _: 1000,
    "in step": lambda _: 2,
    "behind": lambda turn: turn % 2,
    "by leaps": lambda turn: 24 if turn % 8 == 7 else 0,
}


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return Detection.of(read_manifest(write_listener(tmp_path_factory.mktemp("listener"))))


@dataclass
class Ears:
    """The model of the toy detector: what it remembers."""

    late: np.ndarray

    def run(self, step: TaskStep) -> dict[str, np.ndarray]:
        if step.start:
            self.late = np.zeros(LATE, np.float32)
        loud = np.abs(step.inputs["pcm"]).reshape(-1, FRAME).mean(1) >= 0.025
        line = np.concatenate([self.late, 0.9 * loud.astype(np.float32)])
        self.late = line[-LATE:]
        return {"speech": line[:-LATE]}


@dataclass(frozen=True)
class Kept:
    """A point, what a host keeps beside it, and how much had been said."""

    point: ResumePoint
    search: int
    late: np.ndarray
    said: int


class Heard(Driver):
    """A driver of both lanes that takes a point after every step of either, and can begin at one.

    With `small` the detector's state is kept beside a point and nothing is replayed for it.
    """

    def __init__(
        self,
        folder: Path,
        detection: Detection,
        pace: str = "in step",
        small: bool = False,
        memories: tuple[int | None, int | None] = (MEMORY, DETECTOR_MEMORY),
        settings: SessionSettings = SETTINGS,
    ) -> None:
        super().__init__(folder, settings)
        self.detection = detection
        self.pace = PACES[pace]
        self.small = small
        self.memory, detector_memory = memories
        self.detector_memory = 0 if small else detector_memory
        self.turn = 0
        # What the slots held before must not matter.
        self.model.late, self.model.level, self.model.count = [3, 4], 9, 77
        self.ears = Ears(np.ones(LATE, np.float32))
        self.kept: list[Kept] = []
        self.search: int | None = None

    def detect(self) -> DetectSpeech:
        assert self.session.config is not None
        return DetectSpeech(self.detection, self.session.config.vad)

    def detector(self) -> SpeechDetector:
        assert self.session.config is not None
        return SpeechDetector(self.detect(), self.session.config.sample_rate)

    def begin(self, first: Config, kept: Kept | None = None, next_segment: int = 0) -> Ready:
        self.session.receive(first, self.now)
        task, detector = self.task(), self.detector()
        point = ResumePoint.of_start(task, detector.task) if kept is None else through_json(kept.point)
        if kept is not None:
            self.search = kept.search
            self.ears.late = kept.late if self.small else self.ears.late
        rebuilding = Rebuilding(self.detector_memory, self.detect())
        resumption = Resumption("first", self.memory, point, next_segment, 0.0, self.task(), rebuilding)
        self.session.open(task, "toy@1.0.0", self.now, detector, resumption=resumption)
        self._restore_search()
        self.said += self.session.take_messages()
        ready = self.said[0]
        assert isinstance(ready, Ready)
        self.run()
        return ready

    def run(self, most: int | None = None) -> None:
        while True:
            self.turn += 1
            heard = sum(self.listen() for _ in range(self.pace(self.turn)))
            if not self.recognise() and not heard and not self.listen():
                return

    def recognise(self) -> bool:
        step = self.session.next_step(self.now)
        if step is not None:
            self.session.complete(self.model.run(step), self.now)
            self._restore_search()
            self._told()
        return step is not None

    def listen(self) -> bool:
        step = self.session.next_detection()
        if step is not None:
            self.session.complete_detection(self.ears.run(step), self.now)
            self._told()
        return step is not None

    def _restore_search(self) -> None:
        if self.search is not None and not self.session.is_warming_up:
            self.model.count, self.search = self.search, None

    def _told(self) -> None:
        self.said += self.session.take_messages()
        point = self.session.resume_point(self.now)
        if point is not None:
            self.kept.append(Kept(point, self.model.count, self.ears.late, len(self.said)))
            self.session.keep_token(f"token {len(self.kept)}", point, self.now)
            self.said += self.session.take_messages()


def asked(rate: int) -> Config:
    return resumable(rate, vad=VAD)


def lived(driver: Heard, rate: int, life: Life, kept: Kept | None = None, next_segment: int = 0) -> Heard:
    """Live `life`, or what is left of it after a point."""
    ready = driver.begin(asked(rate), kept, next_segment)
    assert ready.next_sample == (kept.point.wire_sample if kept else 0)
    for message in life.messages(ready.next_sample, ready.next_control, rate // 11):
        driver.send(message)
    assert isinstance(driver.said[-1], Done)
    return driver


def another(first: Heard, **changes: object) -> Heard:
    """A driver on other slots, which takes no points."""
    settings = replace(SETTINGS, resume_interval_ms=10**9)
    return Heard(first.folder, first.detection, small=first.small, settings=settings, **changes)  # type: ignore[arg-type]


def events_of(messages: Iterable[ServerMessage]) -> list[SpeechEvent]:
    return [message for message in messages if isinstance(message, SpeechEvent)]


def check_every_point(first: Heard, rate: int, life: Life) -> None:
    """Take `first` up at each of its points, as a client that has read no more than the token."""
    for kept in first.kept:
        before, after = first.said[: kept.said], first.said[kept.said :]
        next_segment = max([kept.point.segments, *(final.segment_id + 1 for final in finals_of(before))])
        second = lived(another(first), rate, life, kept, next_segment)
        assert finals_of(second.said) == finals_of(first.said, next_segment)
        assert events_of(second.said) == events_of(after)
        assert [m for m in second.said if isinstance(m, Finalized)] == [m for m in after if isinstance(m, Finalized)]
        assert second.said[-1] == first.said[-1]


def life_with_controls(rate: int) -> Life:
    speech = toy.speech(SENTENCE, rate)
    places = [rate // 10 + 3, rate * 2 // 5, rate * 2 // 5 + 10, rate * 7 // 10, len(speech)]
    rules = Update(replace(RULES, silence_after_speech_s=0.2))
    controls = [Finalize("a"), Finalize("b"), Finalize("c"), rules, Finalize("d")]
    return Life(speech, tuple(zip(places, controls, strict=True)))


@pytest.mark.parametrize(
    ("pace", "rate"), [*(("in step", rate) for rate in RATES), ("ahead", 8000), ("behind", 44100), ("by leaps", 48000)]
)
def test_every_chunk_boundary_of_either_lane(folder: Path, detection: Detection, pace: str, rate: int) -> None:
    """Between controls, whichever lane is ahead: finals, answers and events after a point are those of the whole."""
    life = life_with_controls(rate)
    first = lived(Heard(folder, detection, pace), rate, life)
    # All but those in padding that is to come again, of which the last flush has some.
    assert len({kept.point.position for kept in first.kept}) > 20
    assert len({kept.point.positions[1] for kept in first.kept}) > 50
    assert len(events_of(first.said)) > 5
    check_every_point(first, rate, life)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_small_detector_replays_nothing(folder: Path, detection: Detection, rate: int) -> None:
    """With all of the detector's state beside the point its audio goes on where it was, far from the recogniser's."""
    life = life_with_controls(rate)
    first = lived(Heard(folder, detection, small=True), rate, life)
    points = [kept.point.detector for kept in first.kept]
    assert all(point is not None and point.replay.position == point.position for point in points)
    check_every_point(first, rate, life)


def test_the_detector_needs_its_replay(folder: Path, detection: Detection) -> None:
    """Without it events are other ones: so the tests above prove something."""
    rate = 8000
    life = life_with_controls(rate)
    first = lived(Heard(folder, detection, memories=(MEMORY, 0)), rate, life)
    differ = 0
    for kept in first.kept:
        second = lived(another(first, memories=(MEMORY, 0)), rate, life, kept, len(finals_of(first.said)))
        differ += events_of(second.said) != events_of(first.said[kept.said :])
    assert differ > len(first.kept) / 4


def test_the_lane_that_needs_more_says_what_is_acknowledged(folder: Path, detection: Detection) -> None:
    """Whether that is the recogniser or the detector; the other one waits for the samples that it needs."""
    rate = 44100
    life = Life(np.tile(toy.speech(SENTENCE, rate), 3))
    for memories in ((40 * toy.HOP, CHUNK), (toy.HOP, 60 * CHUNK)):
        first = lived(Heard(folder, detection, memories=memories), rate, life)
        wanted = [min(point.replay.wire_sample, point.detector.replay.wire_sample) for point in points_of(first)]
        assert [flow.acked_sample for flow in first.said if isinstance(flow, Flow)] == wanted
        assert wanted == sorted(wanted)
        for kept in first.kept[60::17]:
            has = len(finals_of(first.said[: kept.said]))
            second = lived(another(first, memories=memories), rate, life, kept, has)
            assert finals_of(second.said) == finals_of(first.said[kept.said :])
            assert events_of(second.said) == events_of(first.said[kept.said :])


def points_of(driver: Heard) -> list[ResumePoint]:
    return [kept.point for kept in driver.kept]


def test_without_a_bound_of_the_detector_only_the_start_is_a_point(folder: Path, detection: Detection) -> None:
    """The stream is heard again from its begin: events come again, finals that the client has do not."""
    rate = 16000
    life = life_with_controls(rate)
    first = lived(Heard(folder, detection, memories=(MEMORY, None)), rate, life)
    assert first.kept == []
    second = lived(another(first, memories=(MEMORY, None)), rate, life, None, 1)
    assert finals_of(second.said) == finals_of(first.said, 1)
    assert events_of(second.said) == events_of(first.said)


def test_the_end_may_not_come_before_what_the_detector_heard(folder: Path, detection: Detection) -> None:
    """A detector that was ahead has heard audio that the end would cut off; other controls do not concern it."""
    rate = 16000
    life = Life(toy.speech(SENTENCE, rate))
    first = lived(Heard(folder, detection, "ahead"), rate, life)
    kept = max(first.kept, key=lambda kept: kept.point.heard_by_any - kept.point.heard)
    assert kept.point.heard_by_any > kept.point.heard + toy.HOP
    driver = another(first)
    ready = driver.begin(asked(rate), kept)
    for message in Life(life.audio[: kept.point.heard]).messages(ready.next_sample, 0, 800):
        if not isinstance(message, End):
            driver.send(message)
    driver.send(Finalize("early"))
    expected = f"^resume: expected audio up to sample {kept.point.heard_by_any} again before any control, got end at"
    with pytest.raises(InvalidRequest, match=expected):
        driver.send(End())


@pytest.mark.parametrize("pace", ["ahead", "by leaps"])
def test_snapshots_carry_both_lanes(folder: Path, detection: Detection, pace: str) -> None:
    """A restored stream says again what its client had not read, events too, and goes on with the next sample."""
    rate = 44100
    life = life_with_controls(rate)
    first = lived(Heard(folder, detection, pace), rate, life)
    for cut, index in ((7, 10), (11, 20), (15, 31)):
        driver = Heard(folder, detection, pace)
        driver.begin(asked(rate))
        sent = [*life.messages(0, 0, rate // 11)][:cut]
        for message in sent:
            driver.send(message)
        kept = driver.kept[index]
        has = len(finals_of(driver.said[: kept.said]))
        snapshot = json.loads(json.dumps(driver.session.snapshot(), allow_nan=False))
        lacking = [m for m in driver.said[kept.said :] if isinstance(m, Finalized | SpeechEvent) or finals_of([m])]
        driver.session = Session.restored(snapshot, SETTINGS, driver.task(), 0.0, driver.detector())
        resumption = Resumption("t", MEMORY, kept.point, has, detector=Rebuilding(DETECTOR_MEMORY))
        assert driver.session.take_up(resumption, 0.0)
        driver.said = driver.session.take_messages()
        ready = driver.said[0]
        assert isinstance(ready, Ready)
        assert ready.next_sample == sum(len(m.data) // 4 for m in sent if isinstance(m, Audio))
        assert driver.said[1:] == lacking
        for message in life.messages(ready.next_sample, ready.next_control, 700):
            driver.send(message)
        assert finals_of(driver.said) == finals_of(first.said, has)
        assert events_of(driver.said) == events_of(driver_events_after(first, kept))
        assert driver.said[-1] == first.said[-1]


def driver_events_after(first: Heard, kept: Kept) -> list[ServerMessage]:
    """What a whole stream says after a point of another one of the same life."""
    same = next(other for other in first.kept if other.point.positions[1] == kept.point.positions[1])
    return first.said[same.said :]


def test_a_snapshot_whose_detector_is_behind_is_not_taken(folder: Path, detection: Detection) -> None:
    """A client whose token says that the detector has heard more was served elsewhere meanwhile."""
    rate = 16000
    life = Life(toy.speech(SENTENCE, rate))
    driver = Heard(folder, detection, "behind")
    driver.begin(asked(rate))
    for message in [*life.messages(0, 0, 800)][:12]:
        driver.send(message)
    restored = Session.restored(driver.session.snapshot(), SETTINGS, driver.task(), 0.0, driver.detector())
    point = driver.kept[-1].point
    assert point.detector is not None
    ahead = replace(point, detector=replace(point.detector, position=point.detector.position + CHUNK))
    assert not restored.take_up(Resumption("t", MEMORY, ahead, 0, detector=Rebuilding(CHUNK)), 0.0)
    assert restored.take_up(Resumption("t", MEMORY, point, 0, detector=Rebuilding(CHUNK)), 0.0)
