"""Runs the graphs of one bundle on one worker: rows in, results out, state kept in arenas."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from streamer.bundle.loader import Bundle, open_session
from streamer.bundle.manifest import Graph
from streamer.engine.arenas import ArenaSet
from streamer.engine.batches import pad_inputs, pad_slots, row_problem, shape_key, slots_of, split_outputs
from streamer.engine.execution import GraphCall, Mode, Sessions
from streamer.engine.metrics import EngineMetrics
from streamer.engine.settings import EngineSettings, bucket_sizes
from streamer.errors import InvalidRequest, ModelFault
from streamer.work import Array, Lease, Result, Row

# Copying this much before each call costs some tens of microseconds.
_JOURNAL_BYTES = 256 << 10
# What free dimensions are when only the shape of a call matters.
_WARM_UP_LENGTH = 16
# So many kinds of fit rows are known at once; free lengths may make any number of them.
_MOST_FIT = 256

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of some leases: tensors `[rows, *dims]` by state name, rows in the order of the leases of its pool.

    It fits only the bundle with the same `digest`.
    """

    digest: str
    tensors: Mapping[str, Array]


def open_sessions(bundle: Bundle, settings: EngineSettings) -> Sessions:
    """Open every graph of `bundle`; raises `BundleError`, or `InvalidRequest` for a provider that is not there."""
    return {
        graph.name: open_session(bundle.folder, bundle.manifest, graph, settings.provider, settings.intra_op_threads)
        for graph in bundle.manifest.graphs
    }


class Runner:
    """The graphs and arenas of one bundle. All methods belong to one thread.

    `capacity` is the number of slots of each pool. A call that raises faults only the rows that raise alone: what the
    batch may have written is put back from a journal of its rows, and the rows run one by one. The journal is kept
    where it is small, and for every graph that has raised before; the first exception of a graph with large rows
    therefore faults its whole batch, because its state can no longer be trusted.
    """

    def __init__(
        self,
        bundle: Bundle,
        sessions: Sessions,
        capacity: Mapping[str, int],
        settings: EngineSettings,
        mode: Mode = Mode.ALIASED,
        metrics: EngineMetrics | None = None,
    ) -> None:
        self.bundle = bundle
        self.mode = mode
        self._settings = settings
        self._metrics = metrics
        device = "cpu" if mode is Mode.GATHERED else settings.provider
        self.arenas = ArenaSet(bundle.manifest, capacity, device, doubled=mode is Mode.SWAPPED)
        self._pools = {state.name: state.pool for state in bundle.manifest.states}
        self._calls = {
            graph.name: GraphCall(sessions[graph.name], graph, self.arenas, self._pools, mode)
            for graph in bundle.manifest.graphs
        }
        self._limits = {
            graph.name: min(graph.max_batch or settings.max_batch, settings.max_batch)
            for graph in bundle.manifest.graphs
        }
        with_state = [self._limits[graph.name] for graph in bundle.manifest.graphs if graph.pools]
        self._program_limit = max(with_state, default=settings.max_batch)
        self._has_raised: set[str] = set()
        # What rows of each graph were seen to be fit: most are like others before them.
        self._fit: dict[str, set[object]] = {graph.name: set() for graph in bundle.manifest.graphs}

    def has_graph(self, name: str) -> bool:
        """Whether the bundle has a graph called `name`."""
        return name in self._calls

    def max_batch(self, target: str) -> int:
        """The most rows of one call of a graph, or of one batch of a program: what a graph with state takes at most."""
        return self._limits.get(target, self._program_limit)

    def run(self, graph: str, rows: Sequence[Row]) -> list[Result]:
        """Run `graph` once for every row, in as few calls as shapes and `max_batch` allow.

        Results are in the order of `rows`; a row that is unfit or whose output is not what the manifest says holds a
        `ModelFault`, and its slots start clean the next time. Raises `KeyError` for an unknown graph.
        """
        call = self._calls[graph]
        results = [Result()] * len(rows)
        for indices in self._batches(call.graph, rows, results):
            batch = [rows[index] for index in indices]
            for index, result in zip(indices, self._run_batch(call, batch), strict=True):
                results[index] = result
        self._count_faults(graph, results)
        return results

    def warm_up(self) -> None:
        """Run every graph at every bucket on padding alone; raises `ModelFault`.

        A graph with free dimensions may refuse the arbitrary length that is tried here, which is only logged.
        """
        for name, call in self._calls.items():
            for bucket in bucket_sizes(self.max_batch(name)):
                try:
                    self._call(call, (), bucket)
                except Exception as error:
                    if not _has_free_dims(call.graph):
                        raise self._failed(call.graph) from error
                    log.debug("warm-up skipped", bundle=self.bundle.key, graph=name, bucket=bucket)

    def canary(self) -> None:
        """Run the first graph on padding alone; raises `ModelFault` if inference no longer works."""
        call = next(iter(self._calls.values()))
        try:
            self._call(call, (), 1)
        except Exception as error:
            if not _has_free_dims(call.graph):
                raise self._failed(call.graph) from error

    def snapshot(self, leases: Iterable[Lease], groups: Collection[str] | None = None) -> Snapshot:
        """Copy the state of `leases`, or only that of some state groups."""
        slots = _slots_by_pool(leases)
        names = self._states(slots, groups)
        tensors = {name: self.arenas.front[name].read(slots[self._pools[name]]) for name in names}
        return Snapshot(self.bundle.digest, tensors)

    def restore(self, leases: Iterable[Lease], snapshot: Snapshot, groups: Collection[str] | None = None) -> None:
        """Overwrite the state of `leases`, or only that of some state groups.

        Raises `InvalidRequest`, and writes nothing, if `snapshot` does not fit.
        """
        slots = _slots_by_pool(leases)
        self._check_snapshot(slots, snapshot, self._states(slots, groups))
        for name, tensor in snapshot.tensors.items():
            self.arenas.front[name].write(slots[self._pools[name]], tensor)

    def fork(self, source: Iterable[Lease], target: Iterable[Lease]) -> None:
        """Make the state of `target` that of `source`."""
        self.restore(target, self.snapshot(source))

    def _batches(self, graph: Graph, rows: Sequence[Row], results: list[Result]) -> Iterable[list[int]]:
        """Group the fit rows by shape into calls; the results of the others are set."""
        groups: dict[object, list[int]] = defaultdict(list)
        fit = self._fit[graph.name]
        for index, row in enumerate(rows):
            shape = shape_key(row)
            alike = (shape, tuple([lease.pool for lease in row.leases]))
            if alike not in fit:
                problem = row_problem(graph, row)
                if problem is not None:
                    results[index] = Result(error=ModelFault(f"{self._where(graph)}: {problem}"))
                    continue
                if len(fit) == _MOST_FIT:
                    fit.clear()
                fit.add(alike)
            groups[shape].append(index)
        size = self.max_batch(graph.name)
        return [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]

    def _run_batch(self, call: GraphCall, rows: Sequence[Row]) -> list[Result]:
        journal = self._journal(call.graph, rows)
        try:
            outputs, bucket = self._call(call, rows)
        except Exception as error:
            return self._recover(call, rows, journal, error)
        results = split_outputs(self._where(call.graph), call.graph, outputs, bucket, len(rows))
        self._clear(call.graph, [row for row, result in zip(rows, results, strict=True) if result.error])
        return results

    def _recover(
        self, call: GraphCall, rows: Sequence[Row], journal: Mapping[str, Array] | None, error: Exception
    ) -> list[Result]:
        self._has_raised.add(call.graph.name)
        if len(rows) > 1 and journal is not None:
            for name, tensor in journal.items():
                self.arenas.front[name].write(slots_of(rows, self._pools[name]), tensor)
            return [self._run_batch(call, [row])[0] for row in rows]
        log.warning("graph raised", bundle=self.bundle.key, graph=call.graph.name, rows=len(rows), error=str(error))
        self._clear(call.graph, rows)
        return [Result(error=self._failed(call.graph))] * len(rows)

    def _journal(self, graph: Graph, rows: Sequence[Row]) -> Mapping[str, Array] | None:
        """Copy what a failed call could damage; None if that is too much to copy for a graph that never raised."""
        if self.mode is not Mode.ALIASED or len(rows) == 1:
            return {}
        arenas = [self.arenas.front[name] for name in graph.writes]
        size = len(rows) * sum(arena.row_bytes for arena in arenas)
        if size > _JOURNAL_BYTES and graph.name not in self._has_raised:
            return None
        return {arena.state.name: arena.read(slots_of(rows, arena.state.pool)) for arena in arenas}

    def _call(self, call: GraphCall, rows: Sequence[Row], bucket: int | None = None) -> tuple[dict[str, Array], int]:
        graph = call.graph
        size = bucket or next(size for size in bucket_sizes(self.max_batch(graph.name)) if size >= len(rows))
        slots = {
            pool: pad_slots(self._distinct(graph, rows, pool), size, self.arenas.scratch(pool)) for pool in graph.pools
        }
        feeds = pad_inputs(graph, rows, size, _WARM_UP_LENGTH)
        began = time.perf_counter()
        outputs = call.run(feeds, slots)
        if self._metrics and rows:
            elapsed = time.perf_counter() - began
            self._metrics.step.labels(self.bundle.key, graph.name, size).observe(elapsed)
            self._metrics.batch.labels(self.bundle.key, graph.name).observe(len(rows))
        return outputs, size

    def _distinct(self, graph: Graph, rows: Sequence[Row], pool: str) -> list[int]:
        """The slots of `rows`; two rows that write the same one would overwrite each other, so that is an error."""
        slots = slots_of(rows, pool)
        if len(set(slots)) < len(slots) and any(self._pools[name] == pool for name in graph.writes):
            raise ValueError(f"expected distinct {pool} slots in one batch, got {slots}")
        return slots

    def _clear(self, graph: Graph, rows: Sequence[Row]) -> None:
        """Give the slots of faulted rows their initial values: a NaN left there could leak through masked reads."""
        if rows:
            for name in graph.writes:
                arena = self.arenas.front[name]
                arena.write(slots_of(rows, arena.state.pool), arena.initial)

    def _states(self, slots: Mapping[str, list[int]], groups: Collection[str] | None) -> list[str]:
        states = (arena.state for arena in self.arenas.front.values())
        return [s.name for s in states if s.pool in slots and (groups is None or s.group in groups)]

    def _check_snapshot(self, slots: Mapping[str, list[int]], snapshot: Snapshot, names: Iterable[str]) -> None:
        if snapshot.digest != self.bundle.digest:
            raise InvalidRequest(
                f"snapshot of another bundle: expected digest {self.bundle.digest:.12}, got {snapshot.digest:.12}"
            )
        expected = {name: len(slots[self._pools[name]]) for name in names}
        if expected.keys() != snapshot.tensors.keys():
            raise InvalidRequest(f"snapshot: expected states {sorted(expected)}, got {sorted(snapshot.tensors)}")
        for name, tensor in snapshot.tensors.items():
            state = self.arenas.front[name].state
            shape = (expected[name], *state.dims)
            if tensor.shape != shape or tensor.dtype != state.dtype:
                raise InvalidRequest(
                    f"snapshot of {name}: expected {state.dtype} {list(shape)}, got {tensor.dtype} {list(tensor.shape)}"
                )

    def _count_faults(self, graph: str, results: Sequence[Result]) -> None:
        faults = sum(result.error is not None for result in results)
        if faults and self._metrics:
            self._metrics.faults.labels(self.bundle.key, graph).inc(faults)

    def _where(self, graph: Graph) -> str:
        return f"bundle {self.bundle.key}: graph {graph.name}"

    def _failed(self, graph: Graph) -> ModelFault:
        # What ONNX Runtime says names nodes and values, so it is for the log alone.
        return ModelFault(f"{self._where(graph)}: inference failed")


def _slots_by_pool(leases: Iterable[Lease]) -> dict[str, list[int]]:
    slots: dict[str, list[int]] = defaultdict(list)
    for lease in leases:
        slots[lease.pool].append(lease.slot)
    return dict(slots)


def _has_free_dims(graph: Graph) -> bool:
    return any(-1 in tensor.dims for tensor in graph.inputs)
