"""What several engine tests need: rows, runners, a clock that stands still, streams that drive themselves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from streamer.bundle.loader import Bundle
from streamer.engine.execution import Mode
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.engine.worker import Worker
from streamer.work import Lease, Priority, Result, Row, Step

CHUNK = 320
BOTH = frozenset({"encoder", "search"})


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lease(slot: int, pool: str = "stream", generation: int = 1, bundle: str = "toy@1.0.0") -> Lease:
    return Lease(bundle, pool, slot, generation)


def row(slot: int, start: Iterable[str] = (), **inputs: object) -> Row:
    """A row of one stream lease; Python numbers become f32[1]."""
    arrays = {
        name: value if isinstance(value, np.ndarray) else np.array([value], np.float32)
        for name, value in inputs.items()
    }
    return Row((lease(slot),), arrays, frozenset(start))


def runner_of(
    bundle: Bundle, mode: Mode = Mode.ALIASED, slots: int = 6, max_batch: int = 8, **options: object
) -> Runner:
    """A runner with `slots` streams and the rows they may lease."""
    settings = EngineSettings(max_batch=max_batch)
    capacity = {pool.name: slots * pool.max_rows_per_stream for pool in bundle.manifest.pools}
    return Runner(bundle, open_sessions(bundle, settings), capacity, settings, mode, **options)  # type: ignore[arg-type]


def make_dirty(runner: Runner, seed: int = 0) -> None:
    """Fill all arenas with what other streams might have left."""
    rng = np.random.default_rng(seed)
    for arenas in (runner.arenas.front, runner.arenas.back):
        for arena in arenas.values():
            rows = runner.arenas.capacity[arena.state.pool] + 1
            dirt = rng.integers(1, 100, (rows, *arena.state.dims)).astype(arena.state.dtype)
            arena.write(range(rows), dirt)


def loud_audio(rng: np.random.Generator, chunks: int) -> np.ndarray:
    """Noise with a silence here and there: f32[chunks * 320]."""
    level = rng.uniform(0.02, 0.3, chunks) * (rng.random(chunks) > 0.2)
    return (rng.standard_normal(chunks * CHUNK) * np.repeat(level, CHUNK)).astype(np.float32)


class CounterStream:
    """A stream of the counter: leases, sends its chunks one after the other, releases."""

    def __init__(self, worker: Worker, bundle: str, pcm: np.ndarray, priority: Priority = Priority.LIVE) -> None:
        self.worker = worker
        self.bundle = bundle
        self.priority = priority
        self.chunks = pcm.reshape(-1, CHUNK)
        self.ids: list[np.ndarray] = []
        self.errors: list[Exception] = []
        self.lease = worker.lease(bundle, "stream")
        self.waiting = False
        self.done = False

    def advance(self) -> None:
        """Submit the next chunk; on the worker's thread."""
        index = len(self.ids)
        start = BOTH if index == 0 else frozenset()
        step = Step(self.bundle, "step", Row((self.lease,), {"pcm": self.chunks[index]}, start), index, self.priority)
        self.waiting = True
        self.worker.submit(step, self.receive)

    def receive(self, result: Result) -> None:
        self.waiting = False
        if result.error is not None:
            self.errors.append(result.error)
            self.finish()
            return
        self.ids.append(result.outputs["ids"])
        if len(self.ids) == len(self.chunks):
            self.finish()

    def finish(self) -> None:
        self.done = True
        self.worker.release(self.lease)
