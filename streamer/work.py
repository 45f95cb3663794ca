"""The words that sessions and the engine share: leases, rows, steps, calls and results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from streamer.errors import StreamerError

Array = np.ndarray
Tensors = Mapping[str, Array]


class Priority(IntEnum):
    """Live streams go before files, whatever the deadline."""

    LIVE = 0
    FILE = 1


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to one row of one pool of a bundle, until it is released.

    `generation` counts the owners of the slot: a result for an old generation is dropped.
    """

    bundle: str
    pool: str
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Row:
    """One stream's part of a batched graph call.

    `inputs` are tensors without the batch axis. `start` names the state groups that begin anew before the call.
    `leases` holds one lease per pool of the graph (a program's row may hold more: beams, segments).
    """

    leases: tuple[Lease, ...]
    inputs: Tensors
    start: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """A row of work for one graph or program of a bundle, wanted by `deadline` (seconds of the engine's clock)."""

    bundle: str
    target: str
    row: Row
    deadline: float
    priority: Priority = Priority.LIVE


@dataclass(frozen=True, slots=True)
class Result:
    """What a step returned: output tensors without the batch axis, or the error that ended it."""

    outputs: Tensors = field(default_factory=dict)
    error: StreamerError | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One batched graph call that a program asks for."""

    graph: str
    rows: Sequence[Row]


Program = Callable[[Sequence[Row]], Generator[Call, Sequence[Tensors], Sequence[Tensors]]]
"""Work of several graph calls, over a batch of rows: yields calls, is sent the outputs of each call's rows in order,
and returns the outputs of its own rows in order. It runs on the worker thread and must not block."""
