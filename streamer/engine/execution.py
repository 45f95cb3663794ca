"""One graph, bound to arenas: how state gets in and out of ONNX Runtime without being copied."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import onnxruntime as ort

from streamer.bundle.manifest import Graph
from streamer.engine.arenas import Arena, ArenaSet
from streamer.work import Array

Sessions = Mapping[str, ort.InferenceSession]
"""The open graphs of one bundle, by name."""


class Mode(StrEnum):
    """How a graph updates arenas.

    `ALIASED`: the same memory is arena input and output; only what the graph scatters is written. ONNX does not
    promise that this is safe, so it must be proved (see `selftest`). `SWAPPED`: the graph writes a second arena, and
    the two change places. `GATHERED`: the rows of the batch pass through the host in a small arena of their own.
    """

    ALIASED = "aliased"
    SWAPPED = "swapped"
    GATHERED = "gathered"


class GraphCall:
    """Runs one graph on the arenas of its bundle; `pools` maps each state to its pool."""

    def __init__(
        self, session: ort.InferenceSession, graph: Graph, arenas: ArenaSet, pools: Mapping[str, str], mode: Mode
    ) -> None:
        self.graph = graph
        self._session = session
        self._arenas = arenas
        self._pools = pools
        self._mode = mode
        self._binding = session.io_binding()
        # Outputs come back in the order in which their names were first bound.
        self._bind_outputs()
        self._names = (*(tensor.name for tensor in graph.outputs), *(f"{name}_out" for name in graph.writes))
        # The binding borrows the memory of its inputs, so they must outlive the call.
        self._borrowed: list[Array] = []
        if mode is Mode.ALIASED:
            self._bind_whole(arenas.front)

    def run(self, feeds: Mapping[str, Array], slots: Mapping[str, Array]) -> dict[str, Array]:
        """Run one padded batch: `feeds` and `slots` (by pool) are `[bucket, ...]`. Returns the row outputs.

        Raises what ONNX Runtime raises; then arenas are as before, except in mode ALIASED, where any of the rows of
        the batch may have been written.
        """
        self._borrowed.clear()
        for name, array in feeds.items():
            self._lend(name, array)
        self._bind_state(slots)
        # Bound anew each time: ONNX Runtime would write the next results over the ones it returned last.
        self._bind_outputs()
        self._session.run_with_iobinding(self._binding)
        found = dict(zip(self._names, self._binding.get_outputs(), strict=True))
        self._keep_state(slots, found)
        return {tensor.name: np.array(found[tensor.name].numpy()) for tensor in self.graph.outputs}

    def _lend(self, name: str, array: Array) -> None:
        self._borrowed.append(array)
        self._binding.bind_cpu_input(name, array)

    def _bind_outputs(self) -> None:
        for tensor in self.graph.outputs:
            self._binding.bind_output(tensor.name, "cpu")

    def _bind_state(self, slots: Mapping[str, Array]) -> None:
        if self._mode is Mode.GATHERED:
            self._bind_gathered(slots)
            return
        for pool, rows in slots.items():
            self._lend(f"slots_{pool}", rows)
        if self._mode is Mode.SWAPPED:
            self._bind_whole(self._arenas.back)

    def _bind_whole(self, targets: Mapping[str, Arena]) -> None:
        for name in self.graph.reads:
            self._binding.bind_ortvalue_input(name, self._arenas.front[name].value)
        for name in self.graph.writes:
            self._binding.bind_ortvalue_output(f"{name}_out", targets[name].value)

    def _bind_gathered(self, slots: Mapping[str, Array]) -> None:
        for pool, rows in slots.items():
            self._lend(f"slots_{pool}", np.arange(len(rows)))
        for name in self.graph.reads:
            rows = self._arenas.front[name].read(slots[self._pools[name]].tolist())
            self._lend(name, rows)
        for name in self.graph.writes:
            self._binding.bind_output(f"{name}_out", "cpu")

    def _keep_state(self, slots: Mapping[str, Array], found: Mapping[str, ort.OrtValue]) -> None:
        if self._mode is Mode.SWAPPED:
            self._arenas.exchange(self.graph.writes)
        elif self._mode is Mode.GATHERED:
            for name in self.graph.writes:
                rows = slots[self._pools[name]].tolist()
                self._arenas.front[name].write(rows, found[f"{name}_out"].numpy())
