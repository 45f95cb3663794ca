"""Where a stream can be taken up again on another connection or another server, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamer.session.clock import Region
from streamer.session.intake import Replay
from streamer.tasks.base import Task


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A stream after the chunk before `position`, a model sample on the chunk grid. `heard` are its wire samples.

    The model's state is not part of it: it is what a fresh model has after the chunks that `replay` leads to, but for
    what a search keeps. `segments` finals were said, `controls` of `Finalize` and `Update` have acted, and `said` is
    the number of the next message that nothing supersedes. `task` is the state of the host loop.
    """

    position: int
    heard: int
    replay: Replay
    segments: int
    controls: int
    said: int
    task: Mapping[str, Any]

    @classmethod
    def of_start(cls, task: Task) -> ResumePoint:
        """The point before the first chunk of a stream with a fresh `task`."""
        return cls(0, 0, Replay(0, 0, (Region(0, 0),)), 0, 0, 0, task.state())

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON-compatible data, in short."""
        regions = [[r.model_start, r.wire_start, r.model_end, r.wire_end] for r in self.replay.regions]
        return {
            "at": [self.position, self.heard],
            "replay": [self.replay.position, self.replay.wire_sample, regions],
            "counts": [self.segments, self.controls, self.said],
            "task": self.task,
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> ResumePoint:
        """Read what `to_plain` wrote."""
        position, wire_sample, regions = plain["replay"]
        replay = Replay(position, wire_sample, tuple(Region(*numbers) for numbers in regions))
        at, heard = plain["at"]
        segments, controls, said = plain["counts"]
        return cls(at, heard, replay, segments, controls, said, plain["task"])


@dataclass(frozen=True, slots=True)
class Resumption:
    """What the host tells a resumable stream: the `token` of its first point, and how to get there.

    `memory_samples` is how far back the model's state depends on the audio, but for what the host keeps beside a point;
    None means that it has no bound, and then the first point is the only one. A stream that goes on has the finals
    before `next_segment`, was opened `age_s` ago, and brings its model up to the point with `warm_up`, a task that is
    thrown away.
    """

    token: str
    memory_samples: int | None
    point: ResumePoint
    next_segment: int = 0
    age_s: float = 0.0
    warm_up: Task | None = None
