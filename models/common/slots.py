"""Turns a step over rows into a graph over arenas: gather the rows of the slots, start anew, step, scatter.

The names follow the bundle format (`streamer/bundle/manifest.py`): `slots_<pool>`, `start_<group>`, `<state>` and
`<state>_out`. Arenas are f32, f16 or i64 `[S, *dims]`; only what a step writes is scattered. A state whose rows are
large is `indexed`: the step takes the cells that it needs and no more.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StateSpec:
    """One state of the bundle, per stream: `dims` without the slot axis.

    A step is handed the rows of a state whole, or `Cells` of one that is `indexed`. A start does not wipe those: what
    the group has not written since is what the slot's last stream left, and the step must not look at it.
    """

    name: str
    dims: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    initial: int | float = 0
    pool: str = "stream"
    group: str = "encoder"
    indexed: bool = False


@dataclass(frozen=True)
class Cells:
    """The rows of an indexed state, not gathered yet."""

    arena: Tensor
    slots: Tensor

    def take(self, *index: Tensor) -> Tensor:
        """Gather the cells at `index`, one i64 tensor per leading axis of a row; all broadcast to `[B, ...]`.

        Half precision comes back as f32. An axis is never sliced: the tracer would slice the arena of all streams.
        """
        axes = max(tensor.dim() for tensor in index)
        return _read(self.arena[(self.slots.view(-1, *[1] * (axes - 1)), *index)])


@dataclass(frozen=True)
class CellRows:
    """New cells of a state: `rows` `[B, ..., *rest]` go to `index`, as `Cells.take` would read them."""

    rows: Tensor
    index: tuple[Tensor, ...]


@dataclass(frozen=True)
class RingRows:
    """New rows of a ring state: `rows` [B, ..., C, width] go to `index` i64[B, C] of its second last axis."""

    rows: Tensor
    index: Tensor


Update = Tensor | RingRows | CellRows
Rows = Mapping[str, Tensor]
State = Mapping[str, Tensor | Cells]


class RowStep(Protocol):
    """A pure step over rows of a batch: tensors `[B, *dims]` in, outputs and state updates out."""

    def __call__(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """Return the outputs by name and, for each state that changes, its new rows."""


class SlottedGraph(nn.Module):
    """A `RowStep` with its states in arenas. `forward` takes and returns tensors by position, for `torch.onnx`.

    States in `read_only` are another graph's to write.
    """

    def __init__(
        self,
        step: RowStep,
        inputs: Sequence[str],
        outputs: Sequence[str],
        states: Sequence[StateSpec],
        read_only: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.step = step
        self.inputs, self.outputs, self.states = tuple(inputs), tuple(outputs), tuple(states)
        self.written = tuple(state for state in states if state.name not in read_only)
        self.pools = tuple(dict.fromkeys(state.pool for state in states))
        self.groups = tuple(dict.fromkeys(state.group for state in states))

    @property
    def input_names(self) -> list[str]:
        """Names of the graph's inputs, in the order of `forward`'s arguments."""
        slots = [f"slots_{pool}" for pool in self.pools]
        starts = [f"start_{group}" for group in self.groups]
        return [*self.inputs, *slots, *starts, *(state.name for state in self.states)]

    @property
    def output_names(self) -> list[str]:
        """Names of the graph's outputs: those of the step, then every arena written."""
        return [*self.outputs, *(f"{state.name}_out" for state in self.written)]

    def forward(
        self, inputs: list[Tensor], slots: list[Tensor], starts: list[Tensor], arenas: list[Tensor]
    ) -> tuple[Tensor, ...]:
        """Inputs `[B, *dims]`, slots i64[B] per pool, starts bool[B] per group, arenas `[S, *dims]`."""
        slot_of = dict(zip(self.pools, slots, strict=True))
        start_of = dict(zip(self.groups, starts, strict=True))
        arena_of = {state.name: arena for state, arena in zip(self.states, arenas, strict=True)}
        rows = {
            state.name: _row(state, arena_of[state.name], slot_of[state.pool], start_of[state.group])
            for state in self.states
        }
        outputs, updates = self.step(dict(zip(self.inputs, inputs, strict=True)), rows)
        written = [_write(arena_of[state.name], slot_of[state.pool], updates[state.name]) for state in self.written]
        return (*(outputs[name] for name in self.outputs), *written)

    def updated(self, arenas: Sequence[Tensor], results: Sequence[Tensor]) -> list[Tensor]:
        """Return all arenas after a call of `forward` on `arenas` that returned `results`."""
        written = dict(zip((state.name for state in self.written), results[len(self.outputs) :], strict=True))
        return [written.get(state.name, arena) for state, arena in zip(self.states, arenas, strict=True)]

    def initial_arenas(self, slots: int, dirt: float = 0.0) -> list[Tensor]:
        """Arenas of `slots` rows; `dirt` scales the noise that a start must wipe out."""
        return [_arena(state, slots, dirt) for state in self.states]


def _arena(state: StateSpec, slots: int, dirt: float) -> Tensor:
    noise = torch.randn(slots, *state.dims) * dirt
    return noise.abs().to(state.dtype) if state.dtype == torch.int64 else noise.to(state.dtype)


def _row(state: StateSpec, arena: Tensor, slots: Tensor, start: Tensor) -> Tensor | Cells:
    if state.indexed:
        return Cells(arena, slots)
    rows = _read(arena[slots])
    fresh = torch.full_like(rows, state.initial)
    return torch.where(start.view(-1, *[1] * len(state.dims)), fresh, rows)


def _read(rows: Tensor) -> Tensor:
    return rows.float() if rows.dtype == torch.float16 else rows


def _write(arena: Tensor, slots: Tensor, update: Update) -> Tensor:
    if isinstance(update, Tensor):
        return arena.index_put((slots,), update.to(arena.dtype))
    cells = _ring_cells(update) if isinstance(update, RingRows) else update
    axes = max(tensor.dim() for tensor in cells.index)
    return arena.index_put((slots.view(-1, *[1] * (axes - 1)), *cells.index), cells.rows.to(arena.dtype))


def _ring_cells(update: RingRows) -> CellRows:
    """A ring [S, *outer, L, width] takes rows [B, *outer, C, width]: one index per leading axis, broadcast together."""
    outer = update.rows.shape[1:-2]
    axes = 2 + len(outer)
    index = []
    for axis, size in enumerate(outer, start=1):
        shape = [1] * axes
        shape[axis] = size
        index.append(torch.arange(size).view(shape))
    ring = update.index.view(update.index.shape[0], *[1] * len(outer), update.index.shape[1])
    return CellRows(update.rows, (*index, ring))
