"""Which steps run next: policy only, no tensors, no clock.

Live steps go before files, then the earliest deadline first. The group of the most urgent step is picked (same bundle,
target and input shapes), filled up with the most urgent others of that group. Steps that share a lease run one after
the other in the order of submission, never in one batch.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from streamer.engine.batches import shape_key
from streamer.work import Lease, Step

T = TypeVar("T")
# Entries that are gone stay in the heaps until there are more than this many, and they are the majority.
_STALE_LIMIT = 64


@dataclass(slots=True, eq=False)
class _Entry(Generic[T]):
    step: Step
    payload: T
    group: tuple[object, ...]
    urgency: tuple[int, float, int]
    # Leases for which an earlier step is still queued.
    blocked: int = 0
    gone: bool = False

    def __lt__(self, other: _Entry[T]) -> bool:
        return self.urgency < other.urgency


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Steps that run together, most urgent first, each with the payload it was submitted with."""

    bundle: str
    target: str
    jobs: tuple[tuple[Step, T], ...] = field(default=())


class Scheduler(Generic[T]):
    """A queue of steps. `max_batch(bundle, target)` limits a batch. Picks cost O(log n) per step."""

    def __init__(self, max_batch: Callable[[str, str], int]) -> None:
        self._max_batch = max_batch
        # Entries whose turn it may be: all of them, and the same ones by group.
        self._ready: list[_Entry[T]] = []
        self._groups: dict[tuple[object, ...], list[_Entry[T]]] = {}
        # Steps of each lease in order of submission; only the first of each may be ready.
        self._queues: dict[Lease, deque[_Entry[T]]] = defaultdict(deque)
        self._submitted = 0
        self._pending = 0

    def __len__(self) -> int:
        return self._pending

    def submit(self, step: Step, payload: T) -> None:
        """Queue `step`."""
        self._submitted += 1
        self._pending += 1
        group = (step.bundle, step.target, shape_key(step.row))
        entry = _Entry(step, payload, group, (step.priority, step.deadline, self._submitted))
        for lease in set(step.row.leases):
            entry.blocked += bool(self._queues[lease])
            self._queues[lease].append(entry)
        if not entry.blocked:
            self._push(entry)

    def pick(self) -> Batch[T] | None:
        """Take the next batch out of the queue; None if nothing is queued."""
        self._drop_gone()
        if not self._ready:
            return None
        first = self._ready[0].step
        group = self._ready[0].group
        picked = self._take(group, max(1, self._max_batch(first.bundle, first.target)))
        # Only now may their successors become ready: never two steps of a lease in one batch.
        for entry in picked:
            self._unblock(entry)
        return Batch(first.bundle, first.target, tuple((entry.step, entry.payload) for entry in picked))

    def withdraw(self, lease: Lease) -> int:
        """Forget every queued step that holds `lease`; returns how many there were."""
        entries = tuple(self._queues.get(lease, ()))
        for entry in entries:
            self._mark_gone(entry)
        for entry in entries:
            self._unblock(entry)
        if len(self._ready) > _STALE_LIMIT + 2 * self._pending:
            self._compact()
        return len(entries)

    def _take(self, group: tuple[object, ...], limit: int) -> list[_Entry[T]]:
        heap = self._groups[group]
        picked: list[_Entry[T]] = []
        while heap and len(picked) < limit:
            entry = heapq.heappop(heap)
            if not entry.gone:
                self._mark_gone(entry)
                picked.append(entry)
        if not heap:
            del self._groups[group]
        return picked

    def _mark_gone(self, entry: _Entry[T]) -> None:
        entry.gone = True
        self._pending -= 1

    def _unblock(self, entry: _Entry[T]) -> None:
        """Take a gone entry out of the queues of its leases; whoever is first there now may be ready."""
        for lease in set(entry.step.row.leases):
            queue = self._queues[lease]
            was_first = queue[0] is entry
            queue.remove(entry)
            if not queue:
                del self._queues[lease]
            elif was_first:
                self._advance(queue[0])

    def _advance(self, entry: _Entry[T]) -> None:
        entry.blocked -= 1
        if not entry.blocked and not entry.gone:
            self._push(entry)

    def _push(self, entry: _Entry[T]) -> None:
        heapq.heappush(self._ready, entry)
        heapq.heappush(self._groups.setdefault(entry.group, []), entry)

    def _drop_gone(self) -> None:
        """Bring a live entry to the top; what is gone above it is gone at the top of its group too."""
        while self._ready and self._ready[0].gone:
            group = heapq.heappop(self._ready).group
            heap = self._groups.get(group, [])
            while heap and heap[0].gone:
                heapq.heappop(heap)
            if not heap:
                self._groups.pop(group, None)

    def _compact(self) -> None:
        self._ready = [entry for entry in self._ready if not entry.gone]
        heapq.heapify(self._ready)
        self._groups = {}
        for entry in self._ready:
            heapq.heappush(self._groups.setdefault(entry.group, []), entry)
