"""Turns a step over rows into a graph over arenas: gather the rows of the slots, start anew, step, scatter.

The names follow the bundle format (`streamer/bundle/manifest.py`): `slots_<pool>`, `start_<group>`, `<state>` and
`<state>_out`. Arenas are f32 or i64 `[S, *dims]`; only what a step writes is scattered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StateSpec:
    """One state of the bundle, per stream: `dims` without the slot axis."""

    name: str
    dims: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    initial: int | float = 0
    pool: str = "stream"
    group: str = "encoder"


@dataclass(frozen=True)
class RingRows:
    """New rows of a ring state: `rows` [B, ..., C, width] go to `index` i64[B, C] of its second last axis."""

    rows: Tensor
    index: Tensor


Update = Tensor | RingRows
Rows = Mapping[str, Tensor]


class RowStep(Protocol):
    """A pure step over rows of a batch: tensors `[B, *dims]` in, outputs and state updates out."""

    def __call__(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Return the outputs by name and, for each state that changes, its new rows."""


class SlottedGraph(nn.Module):
    """A `RowStep` with its states in arenas. `forward` takes and returns tensors by position, for `torch.onnx`."""

    def __init__(
        self,
        step: RowStep,
        inputs: Sequence[str],
        outputs: Sequence[str],
        states: Sequence[StateSpec],
    ) -> None:
        super().__init__()
        self.step = step
        self.inputs, self.outputs, self.states = tuple(inputs), tuple(outputs), tuple(states)
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
        """Names of the graph's outputs: those of the step, then every arena."""
        return [*self.outputs, *(f"{state.name}_out" for state in self.states)]

    def forward(
        self, inputs: list[Tensor], slots: list[Tensor], starts: list[Tensor], arenas: list[Tensor]
    ) -> tuple[Tensor, ...]:
        """Inputs `[B, *dims]`, slots i64[B] per pool, starts bool[B] per group, arenas `[S, *dims]`."""
        slot_of = dict(zip(self.pools, slots, strict=True))
        start_of = dict(zip(self.groups, starts, strict=True))
        rows = {
            state.name: _row(state, arena, slot_of[state.pool], start_of[state.group])
            for state, arena in zip(self.states, arenas, strict=True)
        }
        outputs, updates = self.step(dict(zip(self.inputs, inputs, strict=True)), rows)
        written = [
            _write(arena, slot_of[state.pool], updates[state.name])
            for state, arena in zip(self.states, arenas, strict=True)
        ]
        return (*(outputs[name] for name in self.outputs), *written)

    def initial_arenas(self, slots: int, dirt: float = 0.0) -> list[Tensor]:
        """Arenas of `slots` rows; `dirt` scales the noise that a start must wipe out."""
        return [_arena(state, slots, dirt) for state in self.states]


def _arena(state: StateSpec, slots: int, dirt: float) -> Tensor:
    noise = torch.randn(slots, *state.dims) * dirt
    return noise.abs().to(state.dtype) if state.dtype == torch.int64 else noise.to(state.dtype)


def _row(state: StateSpec, arena: Tensor, slots: Tensor, start: Tensor) -> Tensor:
    rows = arena[slots]
    fresh = torch.full_like(rows, state.initial)
    return torch.where(start.view(-1, *[1] * len(state.dims)), fresh, rows)


def _write(arena: Tensor, slots: Tensor, update: Update) -> Tensor:
    if isinstance(update, Tensor):
        return arena.index_put((slots,), update)
    # A ring [S, *outer, L, width] takes rows [B, *outer, C, width]: one index per leading axis, broadcast together.
    outer = update.rows.shape[1:-2]
    axes = 2 + len(outer)
    index = [slots.view(-1, *[1] * (axes - 1))]
    for axis, size in enumerate(outer, start=1):
        shape = [1] * axes
        shape[axis] = size
        index.append(torch.arange(size).view(shape))
    ring = update.index.view(update.index.shape[0], *[1] * len(outer), update.index.shape[1])
    return arena.index_put((*index, ring), update.rows)
