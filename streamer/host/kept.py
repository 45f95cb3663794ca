"""The states of a stream's models: what of them a resume point needs, and all of them for a snapshot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.bundle.loader import Bundle
from streamer.engine.runner import Snapshot
from streamer.tasks.transcribe import SEARCH_GROUP
from streamer.work import Array, Lease

if TYPE_CHECKING:
    from streamer.engine.worker import Worker

# A model whose whole state is at most this large travels in the token, and nothing is replayed.
_SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a stream holds on its worker: those of its model, and those of its detector, if it has one."""

    worker: Worker
    model: tuple[Lease, ...]
    detector: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """What a point of the bundle with this `digest` needs: `groups` of states beside it (None: all), and audio.

    It begins `memory_samples` before the point; None means at the stream's begin.
    """

    digest: str
    groups: frozenset[str] | None
    memory_samples: int | None

    @classmethod
    def of(cls, bundle: Bundle) -> Kept:
        """Decide for a bundle. A search remembers what it has said, so replay cannot rebuild it."""
        manifest = bundle.manifest
        sizes = [int(np.prod(state.dims, dtype=np.int64)) * state.dtype.itemsize for state in manifest.states]
        if sum(sizes) <= _SMALL_BYTES:
            return cls(bundle.digest, None, 0)
        groups = {state.group for state in manifest.states} & {SEARCH_GROUP}
        return cls(bundle.digest, frozenset(groups), manifest.receptive_field_samples)

    def read(self, worker: Worker, leases: tuple[Lease, ...]) -> Mapping[str, Array]:
        """Copy the states that a point needs."""
        return _read(worker, leases, self.groups)

    def write(self, worker: Worker, leases: tuple[Lease, ...], tensors: Mapping[str, Array]) -> None:
        """Write the states of a point; none are those of a stream's begin, which its first step makes."""
        if tensors:
            worker.restore(leases, Snapshot(self.digest, tensors), self.groups)

    def read_all(self, worker: Worker, leases: tuple[Lease, ...]) -> Mapping[str, Array]:
        """Copy all states."""
        return _read(worker, leases, None)

    def write_all(self, worker: Worker, leases: tuple[Lease, ...], tensors: Mapping[str, Array]) -> None:
        """Write all states; raises `InvalidRequest` if they do not fit."""
        if leases:
            worker.restore(leases, Snapshot(self.digest, tensors))


def _read(worker: Worker, leases: tuple[Lease, ...], groups: Collection[str] | None) -> Mapping[str, Array]:
    return worker.snapshot(leases, groups).tensors if leases else {}
