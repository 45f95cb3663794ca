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
from streamer.engine.worker import Worker
from streamer.errors import Overloaded, UnknownBundle
from streamer.work import Program

# How often an idle or busy worker proves that inference still works.
_CANARY_S = 10.0

log = structlog.get_logger()


class Engine:
    """Serves `bundles` on worker threads. `programs` holds the one that a manifest names, by `name@version`.

    `choose_worker` is thread-safe; `prepare`, `start` and `stop` belong to the owner.
    """

    def __init__(
        self,
        bundles: Iterable[Bundle],
        settings: EngineSettings | None = None,
        programs: Mapping[str, Program] | None = None,
        clock: Callable[[], float] = time.monotonic,
        registry: CollectorRegistry | None = None,
    ) -> None:
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
            worker.call_every(_CANARY_S, worker.canary)
            worker.start()
        self._started = True

    def prepare(self) -> None:
        """Make the workers: open graphs, self-test, warm up. Tests then drive them with `Worker.run_once`.

        Raises `BundleError`, `ModelFault`, or `InvalidRequest` if the provider is not there.
        """
        shares = _shares(self.settings.max_streams, self.settings.workers or _default_workers(self.settings))
        budget = self.settings.memory_budget_bytes // len(shares)
        modes: dict[str, Mode] = {}
        self.workers = tuple(
            Worker(
                index,
                [self._runner(bundle, budget, streams, modes) for bundle in self.bundles],
                self._programs,
                self._clock,
                self._metrics,
            )
            for index, streams in enumerate(shares)
        )

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

    def _runner(self, bundle: Bundle, budget: int, streams: int, modes: dict[str, Mode]) -> Runner:
        """`modes` remembers what the self-test, which runs once per bundle, has decided."""
        began = time.monotonic()
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
