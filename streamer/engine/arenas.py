"""The memory of streams: one arena per state, `[slots + 1, *dims]`, whose last row absorbs padding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnxruntime as ort

from streamer.bundle.manifest import Manifest, State
from streamer.work import Array


class Arena:
    """All rows of one state, each of `row_bytes`, on `device` ("cpu" or "cuda"), in memory that ONNX Runtime can bind.

    On the CPU `value` shares its memory with a numpy array, so single rows are read and written directly. Elsewhere
    the whole arena passes through the host: right, and slow, which is fine for snapshots.
    """

    def __init__(self, state: State, rows: int, device: str = "cpu") -> None:
        self.state = state
        zeros = np.zeros((rows, *state.dims), state.dtype)
        self._host = zeros if device == "cpu" else None
        self.row_bytes = zeros[0].nbytes
        self.value = ort.OrtValue.ortvalue_from_numpy(zeros, device, 0)

    @property
    def initial(self) -> Array:
        """The initial value, as a scalar of the state's type."""
        return np.array(self.state.initial_state, self.state.dtype)

    def read(self, slots: Sequence[int]) -> Array:
        """Return a copy of rows: `[len(slots), *dims]`."""
        whole = self.value.numpy() if self._host is None else self._host
        return np.asarray(whole[list(slots)])

    def write(self, slots: Sequence[int], rows: Array) -> None:
        """Overwrite rows with `rows` `[len(slots), *dims]`, or with one value for all."""
        if self._host is not None:
            self._host[list(slots)] = rows
            return
        whole = np.array(self.value.numpy())
        whole[list(slots)] = rows
        self.value.update_inplace(whole)


class ArenaSet:
    """The arenas of one bundle on one worker; `doubled` adds a second set to write into."""

    def __init__(
        self, manifest: Manifest, capacity: Mapping[str, int], device: str = "cpu", doubled: bool = False
    ) -> None:
        self.capacity = dict(capacity)
        self.front = self._allocate(manifest, device)
        self.back = self._allocate(manifest, device) if doubled else {}

    def scratch(self, pool: str) -> int:
        """The row of `pool` that belongs to no stream."""
        return self.capacity[pool]

    def exchange(self, states: Iterable[str]) -> None:
        """Make what was written to the back of `states` their front."""
        for name in states:
            self.front[name], self.back[name] = self.back[name], self.front[name]

    def _allocate(self, manifest: Manifest, device: str) -> dict[str, Arena]:
        return {state.name: Arena(state, self.capacity[state.pool] + 1, device) for state in manifest.states}


def arena_bytes(manifest: Manifest, capacity: Mapping[str, int]) -> int:
    """Return the size of one set of arenas."""
    return sum(
        (capacity[state.pool] + 1) * int(np.prod(state.dims, dtype=np.int64)) * state.dtype.itemsize
        for state in manifest.states
    )
