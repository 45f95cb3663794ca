"""Where a stream can be taken up again on another connection or another server, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamer.session.clock import Region
from streamer.session.intake import Replay
from streamer.tasks.base import Task

_START = Replay(0, 0, (Region(0, 0),))


@dataclass(frozen=True, slots=True)
class DetectorPoint:
    """The detector beside a recogniser, after its chunk before `position`; as `ResumePoint`."""

    position: int
    heard: int
    replay: Replay
    task: Mapping[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON-compatible data, in short."""
        return {"at": [self.position, self.heard], "replay": _plain_replay(self.replay), "task": self.task}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> DetectorPoint:
        """Read what `to_plain` wrote."""
        position, heard = plain["at"]
        return cls(position, heard, _replay_of(plain["replay"]), plain["task"])


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A stream after the chunk before `position`, a model sample on the chunk grid. `heard` are its wire samples.

    The model's state is not part of it: it is what a fresh model has after the chunks that `replay` leads to, but for
    what a search keeps. `segments` finals were said, `controls` of `Finalize` and `Update` have acted, and `said` is
    the number of the next message that nothing supersedes. `task` is the state of the host loop. A detector beside it
    is at a place of its own.
    """

    position: int
    heard: int
    replay: Replay
    segments: int
    controls: int
    said: int
    task: Mapping[str, Any]
    detector: DetectorPoint | None = None

    @classmethod
    def of_start(cls, task: Task, detection: Task | None = None) -> ResumePoint:
        """The point before the first chunk of a stream with a fresh `task`, and that of a detector."""
        detector = None if detection is None else DetectorPoint(0, 0, _START, detection.state())
        return cls(0, 0, _START, 0, 0, 0, task.state(), detector)

    @property
    def positions(self) -> tuple[int, int]:
        """The position of the task, and of the detector; 0 without one."""
        return self.position, self.detector.position if self.detector else 0

    @property
    def wire_sample(self) -> int:
        """The first wire sample that is needed to go on."""
        return min(lane.replay.wire_sample for lane in (self, self.detector) if lane is not None)

    @property
    def heard_by_any(self) -> int:
        """Wire samples of the chunks that some model has heard."""
        return max(lane.heard for lane in (self, self.detector) if lane is not None)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON-compatible data, in short."""
        plain = {
            "at": [self.position, self.heard],
            "replay": _plain_replay(self.replay),
            "counts": [self.segments, self.controls, self.said],
            "task": self.task,
        }
        return plain if self.detector is None else {**plain, "detector": self.detector.to_plain()}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> ResumePoint:
        """Read what `to_plain` wrote."""
        at, heard = plain["at"]
        segments, controls, said = plain["counts"]
        detector = DetectorPoint.of_plain(plain["detector"]) if "detector" in plain else None
        return cls(at, heard, _replay_of(plain["replay"]), segments, controls, said, plain["task"], detector)


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """How a model's state is rebuilt: `memory_samples` of audio before a point, with `warm_up` if there is a point."""

    memory_samples: int | None
    warm_up: Task | None = None


@dataclass(frozen=True, slots=True)
class Resumption:
    """What the host tells a resumable stream: the `token` of its first point, and how to get there.

    `memory_samples` is how far back the model's state depends on the audio, but for what the host keeps beside a point;
    None means that it has no bound, and then the first point is the only one. A stream that goes on has the finals
    before `next_segment`, was opened `age_s` ago, and brings its model up to the point with `warm_up`, a task that is
    thrown away. `detector` is there if the stream has one.
    """

    token: str
    memory_samples: int | None
    point: ResumePoint
    next_segment: int = 0
    age_s: float = 0.0
    warm_up: Task | None = None
    detector: Rebuilding | None = None

    @property
    def has_points(self) -> bool:
        """Whether there can be any point but the first."""
        detector_is_bounded = self.detector is None or self.detector.memory_samples is not None
        return self.memory_samples is not None and detector_is_bounded


def _plain_replay(replay: Replay) -> list[Any]:
    regions = [[r.model_start, r.wire_start, r.model_end, r.wire_end] for r in replay.regions]
    return [replay.position, replay.wire_sample, regions]


def _replay_of(plain: list[Any]) -> Replay:
    position, wire_sample, regions = plain
    return Replay(position, wire_sample, tuple(Region(*numbers) for numbers in regions))
