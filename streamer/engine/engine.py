"""All workers and bundles: start, choose a worker, stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping

import structlog
from prometheus_client import CollectorRegistry

from streamer.bundle.loader import Bundle
from streamer.engine.execution import Mode, Sessions
from streamer.engine.metrics import EngineMetrics
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.selftest import choose_mode
from streamer.engine.settings import EngineSettings, plan_capacity
from streamer.engine.worker import CANARY_EVERY_S, Worker
from streamer.errors import Overloaded, UnknownBundle
from streamer.work import Program

log = structlog.get_logger()


class Engine:
    """Serves `bundles` on worker threads. `programs` holds the one that a manifest names, by `name@version`.

    `choose_worker` is thread-safe; the other methods belong to the owner, one at a time.
    """

    def __init__(
        self,
        bundles: Iterable[Bundle],
        settings: EngineSettings | None = None,
        programs: Mapping[str, Program] | None = None,
        clock: Callable[[], float] = time.monotonic,
        registry: CollectorRegistry | None = None,
    ) -> None:
        # Those that new streams may ask for.
        self.bundles = tuple(bundles)
        self.settings = settings or EngineSettings()
        self.workers: tuple[Worker, ...] = ()
        self._programs = programs or {}
        self._clock = clock
        self._metrics = EngineMetrics(registry or CollectorRegistry())
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether every graph of every worker is warm, the threads run and their last canary worked."""
        return self._started and all(worker.healthy for worker in self.workers)

    def start(self) -> None:
        """Prepare the workers and start their threads; raises what `prepare` raises."""
        if not self.workers:
            self.prepare()
        for worker in self.workers:
            worker.call_every(CANARY_EVERY_S, worker.canary)
            worker.start()
        self._started = True

    def prepare(self) -> None:
        """Make the workers: open graphs, self-test, warm up. Tests then drive them with `Worker.run_once`.

        Raises `BundleError`, `ModelFault`, or `InvalidRequest` if the provider is not there.
        """
        shares = self._shares()
        modes: dict[str, Mode] = {}
        self.workers = tuple(
            Worker(
                index,
                [self._runner(bundle, share, modes) for bundle in self.bundles],
                self._programs,
                self._clock,
                self._metrics,
            )
            for index, share in enumerate(shares)
        )

    def add(self, bundle: Bundle, program: Program | None = None) -> None:
        """Serve one more bundle while streams go on: takes as long as loading does, so not on the event loop.

        `program` is the one that its manifest names. Raises what `prepare` raises, and then nothing has changed;
        `ValueError` if a bundle of this name and version is there already.
        """
        if any(bundle.key == served.key for served in self.bundles) or self.used_slots(bundle.key):
            raise ValueError(f"bundle {bundle.key} is served already")
        modes: dict[str, Mode] = {}
        runners = [self._runner(bundle, share, modes) for share in self._shares()]
        for worker, runner in zip(self.workers, runners, strict=True):
            worker.add(runner, program)
        self.bundles = (*self.bundles, bundle)

    def retire(self, bundle: str) -> None:
        """Admit no new streams of `bundle` (`name@version`); those that are open go on."""
        self.bundles = tuple(served for served in self.bundles if served.key != bundle)

    def restore(self, bundle: Bundle) -> None:
        """Admit new streams of a retired bundle again, which was not removed yet."""
        self.bundles = (*self.bundles, bundle)

    def remove(self, bundle: str) -> None:
        """Free what a retired bundle holds; raises `ValueError` while a stream still has a slot of it."""
        used = self.used_slots(bundle)
        if used:
            raise ValueError(f"bundle {bundle} has {used} leased slots, expected none")
        for worker in self.workers:
            worker.remove(bundle)

    def used_slots(self, bundle: str) -> int:
        """Slots of `bundle` that streams hold, over all workers."""
        return sum(worker.used_slots(bundle) for worker in self.workers)

    def stop(self) -> None:
        """End the threads; queued steps do not run."""
        self._started = False
        for worker in self.workers:
            worker.stop()

    def choose_worker(self, bundle: str) -> Worker:
        """Return the worker with the most free slots for `bundle` (`name@version`), among the healthy ones if any.

        Raises `Overloaded` if none has any, `UnknownBundle` if the bundle is not served.
        """
        known = [served.key for served in self.bundles]
        if bundle not in known:
            raise UnknownBundle(f"unknown bundle {bundle!r}, expected one of {', '.join(known)}")
        candidates = [worker for worker in self.workers if worker.healthy] or self.workers
        worker = max(candidates, key=lambda worker: (worker.free_slots(bundle), -worker.queued))
        if worker.free_slots(bundle) < 1:
            raise Overloaded(f"all slots of {bundle} are taken, try again later")
        return worker

    def _shares(self) -> list[tuple[int, int]]:
        """Streams and bytes of state that each worker gets of a bundle."""
        streams = _shares(self.settings.max_streams, self.settings.workers or _default_workers(self.settings))
        return [(count, self.settings.memory_budget_bytes // len(streams)) for count in streams]

    def _runner(self, bundle: Bundle, share: tuple[int, int], modes: dict[str, Mode]) -> Runner:
        """`modes` remembers what the self-test, which runs once per bundle, has decided."""
        began = time.monotonic()
        streams, budget = share
        capacity = plan_capacity(bundle.manifest, budget, streams)
        sessions: Sessions = open_sessions(bundle, self.settings)
        if bundle.key not in modes:
            modes[bundle.key] = choose_mode(bundle, sessions, capacity, self.settings, self._metrics)
        runner = Runner(bundle, sessions, capacity, self.settings, modes[bundle.key], self._metrics)
        runner.warm_up()
        seconds = round(time.monotonic() - began, 3)
        log.info("bundle ready", bundle=bundle.key, mode=runner.mode, capacity=capacity, seconds=seconds)
        return runner


def _default_workers(settings: EngineSettings) -> int:
    """One per core that this process may use; one for cuda, where a worker is a GPU."""
    if settings.provider == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shares(streams: int, workers: int) -> list[int]:
    """Split `streams` evenly; no worker without any."""
    count = min(streams, workers)
    return [streams // count + (index < streams % count) for index in range(count)]
