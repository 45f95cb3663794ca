"""Proves at load that a bundle's graphs may update arenas in place, and that a start forgets the slot's past.

ONNX does not promise that one memory can be arena input and output: it goes wrong when a graph scatters before its last
read of the same arena. Every graph runs in turn, in place and with separate outputs, on the same random inputs and
equally dirty arenas, over several steps; outputs and arenas must agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from streamer.bundle.loader import Bundle
from streamer.bundle.manifest import Graph, Manifest, Tensor
from streamer.engine.arenas import arena_bytes
from streamer.engine.execution import Mode, Sessions
from streamer.engine.metrics import EngineMetrics
from streamer.engine.runner import Runner
from streamer.engine.settings import MIB, EngineSettings
from streamer.errors import BundleError
from streamer.work import Array, Lease, Result, Row

_SLOTS = 4
_ROWS = 3
# Rows may be of 100 MiB: so many values are drawn at most, and repeated.
_MOST_DIRT = 1 << 20
_STEPS = 4
_TOLERANCE = 1e-6
_FREE_LENGTH = 16
# Larger arenas are too slow to copy whole at every step.
_SWAP_LIMIT = 64 * MIB

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a self-test saw go wrong in `graph`; `refused`: it could not judge, the graph takes no random input."""

    graph: str
    detail: str
    refused: bool = False


def choose_mode(
    bundle: Bundle,
    sessions: Sessions,
    capacity: Mapping[str, int],
    settings: EngineSettings,
    metrics: EngineMetrics | None = None,
) -> Mode:
    """Return how arenas of `capacity` can be updated; anything but ALIASED is a warning and a metric.

    Raises `BundleError` if a start does not forget the past of a slot: then streams would hear each other.
    """
    leak = find_leak(bundle, sessions, settings)
    if leak is not None and not leak.refused:
        raise BundleError(f"bundle {bundle.manifest.name}: graph {leak.graph}: {leak.detail}")
    finding = find_aliasing(bundle, sessions, settings)
    if finding is None:
        return Mode.ALIASED
    mode = Mode.SWAPPED if arena_bytes(bundle.manifest, capacity) <= _SWAP_LIMIT else Mode.GATHERED
    log.warning(
        "self-test failed, state is copied", bundle=bundle.key, graph=finding.graph, detail=finding.detail, mode=mode
    )
    if metrics:
        metrics.self_test_failures.labels(bundle.key, finding.graph).inc()
    return mode


def find_aliasing(bundle: Bundle, sessions: Sessions, settings: EngineSettings) -> Finding | None:
    """Run all graphs in place and with separate outputs; return the first difference."""
    if not any(graph.writes for graph in bundle.manifest.graphs):
        return None
    in_place = _runner(bundle, sessions, settings, Mode.ALIASED, dirt_seed=1)
    separate = _runner(bundle, sessions, settings, Mode.SWAPPED, dirt_seed=1)
    return _compare(in_place, separate, "in place", arenas_too=True)


def find_leak(bundle: Bundle, sessions: Sessions, settings: EngineSettings) -> Finding | None:
    """Run all graphs from two differently dirty arenas, all groups started; return the first difference."""
    first = _runner(bundle, sessions, settings, Mode.SWAPPED, dirt_seed=1)
    second = _runner(bundle, sessions, settings, Mode.SWAPPED, dirt_seed=2)
    return _compare(first, second, "after other use of the slot", arenas_too=False)


def _compare(one: Runner, other: Runner, how: str, arenas_too: bool) -> Finding | None:
    rng = np.random.default_rng(0)
    manifest = one.bundle.manifest
    written: set[str] = set()
    for _ in range(_STEPS):
        for graph in manifest.graphs:
            rows = _random_rows(one.bundle, graph, _groups_to_start(manifest, graph, written), rng)
            written.update(graph.writes)
            mine, theirs = one.run(graph.name, rows), other.run(graph.name, rows)
            error = next((result.error for result in (*mine, *theirs) if result.error), None)
            if error is not None:
                return Finding(graph.name, f"random input was refused: {error}", refused=True)
            problem = _outputs_differ(mine, theirs) or (
                _arenas_differ(one, other, graph.writes) if arenas_too else None
            )
            if problem is not None:
                return Finding(graph.name, f"{problem} {how}")
    return None


def _groups_to_start(manifest: Manifest, graph: Graph, written: set[str]) -> frozenset[str]:
    """A group starts until every state of it that `graph` reads has been written once."""
    return frozenset(state.group for state in map(manifest.state, graph.reads) if state.name not in written)


def _random_rows(bundle: Bundle, graph: Graph, start: frozenset[str], rng: np.random.Generator) -> list[Row]:
    """Rows for the slots 0, 1 and 2 in random order, the same slot in every pool."""
    return [
        Row(
            tuple(Lease(bundle.key, pool, int(slot), 1) for pool in graph.pools),
            {tensor.name: _random(tensor, rng) for tensor in graph.inputs},
            start & set(graph.groups),
        )
        for slot in rng.permutation(_ROWS)
    ]


def _random(tensor: Tensor, rng: np.random.Generator) -> Array:
    """Audio-like floats; integers and flags are 0 or 1, which indices and lengths should accept."""
    shape = tuple(_FREE_LENGTH if dim == -1 else dim for dim in tensor.dims)
    if tensor.dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape) * 0.1, tensor.dtype)
    return np.asarray(rng.integers(0, 2, shape), tensor.dtype)


def _runner(bundle: Bundle, sessions: Sessions, settings: EngineSettings, mode: Mode, dirt_seed: int) -> Runner:
    capacity = {pool.name: _SLOTS for pool in bundle.manifest.pools}
    runner = Runner(bundle, sessions, capacity, settings, mode)
    rng = np.random.default_rng(dirt_seed)
    for name, arena in runner.arenas.front.items():
        dirt = _dirt((_SLOTS + 1, *arena.state.dims), arena.state.dtype, rng)
        for arenas in (runner.arenas.front, runner.arenas.back):
            if name in arenas:
                arenas[name].write(range(_SLOTS + 1), dirt)
    return runner


def _dirt(shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator) -> Array:
    count = min(math.prod(shape), _MOST_DIRT)
    dirt = rng.standard_normal(count) * 3 if dtype.kind == "f" else rng.integers(0, 7, count)
    return np.resize(dirt.astype(dtype), shape)


def _outputs_differ(one: Sequence[Result], other: Sequence[Result]) -> str | None:
    for mine, theirs in zip(one, other, strict=True):
        for name, array in mine.outputs.items():
            if not _same(array, theirs.outputs[name]):
                return f"output {name} differs"
    return None


def _arenas_differ(one: Runner, other: Runner, states: Sequence[str]) -> str | None:
    for name in states:
        # Without the scratch row: padded rows race for it, and nobody reads it.
        mine, theirs = (runner.arenas.front[name].read(range(_SLOTS)) for runner in (one, other))
        if not _same(mine, theirs):
            return f"state {name} differs"
    return None


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    # Nearly always equal to the bit, which is far sooner seen.
    return np.array_equal(one, other) or np.allclose(one, other, rtol=0, atol=_TOLERANCE, equal_nan=True)
