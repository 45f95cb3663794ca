"""One thread with its own arenas, graphs, slots and scheduler; sessions of its streams run on it too."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from streamer.engine.metrics import EngineMetrics
from streamer.engine.programs import run_program
from streamer.engine.runner import Runner, Snapshot
from streamer.engine.scheduler import Batch, Scheduler
from streamer.engine.slots import SlotPool
from streamer.errors import ModelFault
from streamer.work import Lease, Program, Result, Row, Step

Action = Callable[[], None]
OnResult = Callable[[Result], None]

# How long the call that runs when the worker is stopped may take; a thread that hangs dies with the process.
_JOIN_S = 5.0
# How often an idle or busy worker proves that inference still works, and how late that may be.
CANARY_EVERY_S = 10.0
CANARY_LATE_S = 30.0
# Free slots of a bundle without state.
_UNLIMITED = 1 << 30

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Job:
    on_result: OnResult
    submitted_at: float


@dataclass(frozen=True, slots=True, order=True)
class _Tick:
    at: float
    number: int
    every: float = field(compare=False)
    action: Action = field(compare=False)


class Worker:
    """Serves some streams: their leases, their steps and the code of their sessions.

    `programs` holds, by `name@version`, the program that the bundle's manifest names.

    `lease`, `release`, `free_slots`, `post`, `after_iteration` and `call_every` are thread-safe; the other methods
    belong to the worker's thread. Nothing that a posted function, a callback or a graph raises ends the worker.
    """

    def __init__(
        self,
        index: int,
        runners: Iterable[Runner],
        programs: Mapping[str, Program] | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: EngineMetrics | None = None,
    ) -> None:
        self.index = index
        # Replaced as wholes, never changed: other threads read them.
        self._runners: dict[str, Runner] = {}
        self._programs: dict[str, Program] = {}
        self._pools: dict[tuple[str, str], SlotPool] = {}
        self._clock = clock
        self._metrics = metrics
        self._scheduler: Scheduler[_Job] = Scheduler(self._max_batch)
        self._posted: deque[Action] = deque()
        self._hooks: list[Action] = []
        self._ticks: list[_Tick] = []
        self._tick_numbers = itertools.count()
        # Guards the posted functions, the ticks and the flag; notified when the thread has something to do.
        self._news = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._canary_works = True
        self._canary_at = clock()
        for runner in runners:
            self.add(runner, (programs or {}).get(runner.bundle.key))

    # Any thread

    def add(self, runner: Runner, program: Program | None = None) -> None:
        """Serve one more bundle, whose `runner` is warm and whose program, if any, is `program`.

        Its arenas belong to this worker from now on.
        """
        key = runner.bundle.key
        pools = {(key, pool): SlotPool(key, pool, capacity) for pool, capacity in runner.arenas.capacity.items()}
        if program is not None:
            self._programs = {**self._programs, key: program}
        self._runners = {**self._runners, key: runner}
        self._pools = {**self._pools, **pools}
        for (_, pool), slots in pools.items():
            self._show_slots(key, pool, slots)

    def remove(self, bundle: str) -> None:
        """Serve `bundle` (`name@version`) no more and free its memory; raises `ValueError` while slots are leased."""
        pools = {place: slots for place, slots in self._pools.items() if place[0] == bundle}
        used = sum(slots.used for slots in pools.values())
        if used:
            raise ValueError(f"bundle {bundle} has {used} leased slots on worker {self.index}, expected none")
        self._pools = {place: slots for place, slots in self._pools.items() if place not in pools}
        self._runners = {key: runner for key, runner in self._runners.items() if key != bundle}
        self._programs = {key: program for key, program in self._programs.items() if key != bundle}
        for _, pool in pools:
            if self._metrics:
                self._metrics.forget_slots(bundle, pool, str(self.index))

    def used_slots(self, bundle: str) -> int:
        """Slots of all pools of `bundle` that are leased."""
        return sum(slots.used for (key, _), slots in self._pools.items() if key == bundle)

    def lease(self, bundle: str, pool: str) -> Lease:
        """Lend a slot of `bundle` (`name@version`); raises `Overloaded`, or `KeyError` if there is no such pool."""
        slots = self._pools[bundle, pool]
        lease = slots.lease()
        self._show_slots(bundle, pool, slots)
        return lease

    def release(self, lease: Lease) -> None:
        """Take a slot back at once; its queued steps never run and its late results are dropped.

        Raises `ValueError`, and frees nothing, if the lease was released before.
        """
        slots = self._pools[lease.bundle, lease.pool]
        slots.release(lease)
        self._show_slots(lease.bundle, lease.pool, slots)
        self.post(partial(self._withdraw, lease))

    def free_slots(self, bundle: str) -> int:
        """Streams of `bundle` that could still be admitted: the free slots of its scarcest pool."""
        pools = [slots.free for (key, _), slots in self._pools.items() if key == bundle]
        return min(pools, default=_UNLIMITED)

    @property
    def queued(self) -> int:
        """Steps that wait for their turn."""
        return len(self._scheduler)

    def post(self, action: Action) -> None:
        """Run `action` on the worker's thread, after what was posted before."""
        with self._news:
            self._posted.append(action)
            self._news.notify()

    def after_iteration(self, hook: Action) -> None:
        """Run `hook` on the worker's thread at the end of every iteration that did something."""
        self.post(lambda: self._hooks.append(hook))

    def call_every(self, seconds: float, action: Action) -> None:
        """Run `action` on the worker's thread every `seconds` of its clock, the first time after `seconds`."""
        with self._news:
            tick = _Tick(self._clock() + seconds, next(self._tick_numbers), seconds, action)
            heapq.heappush(self._ticks, tick)
            self._news.notify()

    @property
    def healthy(self) -> bool:
        """Whether the thread lives, the last canary worked and is not long ago: a call that hangs keeps it away."""
        is_late = self._clock() - self._canary_at > CANARY_LATE_S
        return self._canary_works and not is_late and self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._canary_at = self._clock()
        self._thread = threading.Thread(target=self._loop, name=f"worker-{self.index}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current iteration and wait for it, not for ever; what is queued does not run."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                log.error("worker did not stop", worker=self.index)

    # The worker's thread

    def submit(self, step: Step, on_result: OnResult) -> None:
        """Queue `step`; `on_result` gets its outputs or its error, unless one of its leases is released before.

        Raises `ValueError` if its bundle has no graph or program of that name.
        """
        runner = self._runners.get(step.bundle)
        if runner is None or not (self._is_program(runner, step.target) or runner.has_graph(step.target)):
            raise ValueError(f"bundle {step.bundle} has no graph or program {step.target!r} on this worker")
        self._scheduler.submit(step, _Job(on_result, self._clock()))

    def run_once(self, now: float | None = None) -> bool:
        """Do one iteration: posted functions, due ticks, one batch. Returns whether there was anything to do.

        The thread calls this; without a thread, tests do.
        """
        actions = self._take_due(self._clock() if now is None else now)
        for action in actions:
            _guard(action)
        batch = self._scheduler.pick()
        if batch is not None:
            self._run_batch(batch)
        if not actions and batch is None:
            return False
        for hook in self._hooks:
            _guard(hook)
        return True

    def snapshot(self, leases: Sequence[Lease], groups: Collection[str] | None = None) -> Snapshot:
        """Copy the state of `leases`, which are of one bundle, or only that of some state groups."""
        return self._runners[leases[0].bundle].snapshot(leases, groups)

    def restore(self, leases: Sequence[Lease], snapshot: Snapshot, groups: Collection[str] | None = None) -> None:
        """Overwrite the state of `leases`, or of some groups; raises `InvalidRequest` if `snapshot` does not fit."""
        self._runners[leases[0].bundle].restore(leases, snapshot, groups)

    def fork(self, source: Sequence[Lease], target: Sequence[Lease]) -> None:
        """Make the state of `target` that of `source`, of the same bundle."""
        self.restore(target, self.snapshot(source))

    def canary(self) -> None:
        """Run one inference of every bundle on scratch rows, and remember in `healthy` whether it worked.

        Raises `ModelFault`.
        """
        try:
            for runner in self._runners.values():
                runner.canary()
        except Exception:
            self._canary_works = False
            raise
        finally:
            self._canary_at = self._clock()
        self._canary_works = True

    def _withdraw(self, lease: Lease) -> None:
        self._scheduler.withdraw(lease)

    def _take_due(self, now: float) -> list[Action]:
        with self._news:
            actions = list(self._posted)
            self._posted.clear()
            due: list[_Tick] = []
            while self._ticks and self._ticks[0].at <= now:
                due.append(heapq.heappop(self._ticks))
            for tick in due:
                # From now, not from when it was due: ticks that were missed are not made up for.
                heapq.heappush(self._ticks, replace(tick, at=now + tick.every))
        actions += [tick.action for tick in due]
        return actions

    def _loop(self) -> None:
        while self._wait():
            self.run_once()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when the worker is to stop."""
        with self._news:
            while not (self._stopping or self._posted or len(self._scheduler)):
                timeout = self._ticks[0].at - self._clock() if self._ticks else None
                if timeout is not None and timeout <= 0:
                    break
                self._news.wait(timeout)
            return not self._stopping

    def _run_batch(self, batch: Batch[_Job]) -> None:
        jobs = [(step, job) for step, job in batch.jobs if self._is_current(step)]
        if not jobs:
            return
        self._observe_queue(batch, jobs)
        rows = [step.row for step, _ in jobs]
        results = self._execute(self._runners[batch.bundle], batch.target, rows)
        for (step, job), result in zip(jobs, results, strict=True):
            # A callback, or another thread, may have released the lease meanwhile.
            if self._is_current(step):
                _guard(partial(job.on_result, result))

    def _execute(self, runner: Runner, target: str, rows: Sequence[Row]) -> list[Result]:
        try:
            if self._is_program(runner, target):
                return run_program(target, self._programs[runner.bundle.key], runner, rows)
            return runner.run(target, rows)
        except Exception:
            log.exception("runner failed", bundle=runner.bundle.key, target=target)
            fault = ModelFault(f"bundle {runner.bundle.key}: {target}: internal error")
            return [Result(error=fault)] * len(rows)

    def _is_program(self, runner: Runner, target: str) -> bool:
        return target == runner.bundle.manifest.task.program and runner.bundle.key in self._programs

    def _is_current(self, step: Step) -> bool:
        # A bundle is removed only after its last lease, so a step without a pool has lost its leases too.
        pools = [self._pools.get((lease.bundle, lease.pool)) for lease in step.row.leases]
        held = zip(pools, step.row.leases, strict=True)
        return step.bundle in self._runners and all(pool is not None and pool.is_current(lease) for pool, lease in held)

    def _max_batch(self, bundle: str, target: str) -> int:
        return self._runners[bundle].max_batch(target)

    def _observe_queue(self, batch: Batch[_Job], jobs: Sequence[tuple[Step, _Job]]) -> None:
        if self._metrics:
            now = self._clock()
            queue = self._metrics.queue.labels(batch.bundle, batch.target)
            for _, job in jobs:
                queue.observe(max(0.0, now - job.submitted_at))

    def _show_slots(self, bundle: str, pool: str, slots: SlotPool) -> None:
        if self._metrics:
            labels = (bundle, pool, str(self.index))
            self._metrics.slots_used.labels(*labels).set(slots.used)
            self._metrics.slots_capacity.labels(*labels).set(slots.capacity)


def _guard(action: Action) -> None:
    """Run `action`; whatever it raises is a bug of one stream and must not end the others."""
    try:
        action()
    except Exception:
        log.exception("function on worker raised")
