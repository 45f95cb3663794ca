"""The parity ladder, written once: a torch step alone = its ONNX graph in the server's engine, for any mix of streams.

Each rung returns what to compare; tests decide how close. Below the ladder stands each family's own proof that its
torch step equals its torch whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.common.slots import SlottedGraph
from streamer.bundle.loader import load_bundle
from streamer.bundle.manifest import Manifest
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.work import Array, Lease, Row

Chunks = Sequence[Mapping[str, Array]]
"""The steps of one stream: for each, the graph's inputs without the batch axis."""
Outputs = dict[str, Array]
"""What a stream returned: each output stacked over the steps, `[T, *dims]`, or joined where steps differ in length."""


def torch_alone(graph: SlottedGraph, chunks: Chunks) -> Outputs:
    """Run one stream through the torch graph, alone, in a slot that was dirty."""
    arenas = graph.initial_arenas(2, dirt=3.0)
    recorded: list[Outputs] = []
    with torch.no_grad():
        for t, chunk in enumerate(chunks):
            inputs = [torch.from_numpy(chunk[name])[None] for name in graph.inputs]
            starts = [torch.tensor([t == 0]) for _ in graph.groups]
            results = graph(inputs, [torch.tensor([0]) for _ in graph.pools], starts, arenas)
            arenas = graph.updated(arenas, results)
            recorded.append({name: value[0].numpy() for name, value in zip(graph.outputs, results, strict=False)})
    return _stack(recorded)


@dataclass
class Streamed:
    """One stream of `EngineRun`: its leases, and what came back so far."""

    chunks: Chunks
    leases: tuple[Lease, ...]
    recorded: list[Outputs]


class EngineRun:
    """Many streams through the server's runner: random interleaving, random batches, reused slots, dirty arenas."""

    def __init__(self, folder: Path, graph: str, slots: int = 9, max_batch: int = 8, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        bundle, settings = load_bundle(folder), EngineSettings(max_batch=max_batch)
        self.manifest: Manifest = bundle.manifest
        capacity = {pool.name: slots for pool in bundle.manifest.pools}
        self.runner = Runner(bundle, open_sessions(bundle, settings), capacity, settings)
        self._graph = bundle.manifest.graph(graph)
        self._key = bundle.key
        self._free = list(range(slots))

    def run(self, streams: Sequence[Chunks]) -> list[Outputs]:
        """Return the outputs of every stream, in order."""
        waiting = list(enumerate(streams))
        live: dict[int, Streamed] = {}
        done: dict[int, Outputs] = {}
        while waiting or live:
            while waiting and self._free and (not live or self._rng.random() < 0.7):
                index, chunks = waiting.pop(0)
                live[index] = Streamed(chunks, self._lease(), [])
            batch = [index for index in live if self._rng.random() < 0.5]
            self._step([live[index] for index in batch])
            for index in batch:
                if len(live[index].recorded) == len(live[index].chunks):
                    stream = live.pop(index)
                    self._free.append(stream.leases[0].slot)
                    done[index] = _stack(stream.recorded)
        return [done[index] for index in range(len(streams))]

    def _lease(self) -> tuple[Lease, ...]:
        slot = self._free.pop(int(self._rng.integers(len(self._free))))
        return tuple(Lease(self._key, pool, slot, 0) for pool in self._graph.pools)

    def _step(self, batch: Sequence[Streamed]) -> None:
        rows = [_next_row(stream, frozenset(self._graph.groups)) for stream in batch]
        for stream, result in zip(batch, self.runner.run(self._graph.name, rows), strict=True):
            if result.error is not None:
                raise result.error
            stream.recorded.append({name: np.array(value) for name, value in result.outputs.items()})


def largest_difference(left: Sequence[Outputs], right: Sequence[Outputs], output: str) -> float:
    """The largest absolute difference of one output over all streams; integers that differ count as infinite."""
    worst = 0.0
    for a, b in zip(left, right, strict=True):
        if a[output].dtype.kind in "iub":
            if not np.array_equal(a[output], b[output]):
                return float("inf")
        else:
            worst = max(worst, float(np.abs(a[output] - b[output]).max(initial=0.0)))
    return worst


def first_change(step: Callable[[Chunks], Outputs], chunks: Chunks, changed: Chunks, output: str) -> int | None:
    """The first step whose `output` differs between two streams; None if none does. For tests of causality."""
    left, right = step(chunks)[output], step(changed)[output]
    differs = [t for t in range(len(left)) if not np.array_equal(left[t], right[t])]
    return differs[0] if differs else None


def _next_row(stream: Streamed, groups: frozenset[str]) -> Row:
    t = len(stream.recorded)
    return Row(stream.leases, stream.chunks[t], groups if t == 0 else frozenset())


def _stack(recorded: Sequence[Outputs]) -> Outputs:
    return {name: _joined([outputs[name] for outputs in recorded]) for name in recorded[0]}


def _joined(steps: Sequence[Array]) -> Array:
    same = len({step.shape for step in steps}) == 1
    return np.stack(steps) if same else np.concatenate(steps)
