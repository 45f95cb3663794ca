"""Who owns which row of a pool: policy only, no tensors."""

from __future__ import annotations

import threading

from streamer.errors import Overloaded
from streamer.work import Lease


class SlotPool:
    """The slots `0 .. capacity - 1` of one pool of a bundle, lent as leases. Thread-safe."""

    def __init__(self, bundle: str, pool: str, capacity: int) -> None:
        self.bundle = bundle
        self.pool = pool
        self.capacity = capacity
        # Counts leases and releases of each slot: odd while it is leased, so a released lease is never current.
        self._generations = [0] * capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._lock = threading.Lock()

    def lease(self) -> Lease:
        """Lend a free slot; raises `Overloaded`."""
        with self._lock:
            if not self._free:
                raise Overloaded(f"all {self.capacity} {self.pool} slots of {self.bundle} are taken, try again later")
            slot = self._free.pop()
            self._generations[slot] += 1
            return Lease(self.bundle, self.pool, slot, self._generations[slot])

    def release(self, lease: Lease) -> None:
        """Take a slot back; raises `ValueError`, and frees nothing, if `lease` is no longer current."""
        with self._lock:
            if not self._holds(lease):
                raise ValueError(
                    f"lease of {lease.pool} slot {lease.slot} of {lease.bundle} is not current: "
                    f"generation {lease.generation} was released"
                )
            self._generations[lease.slot] += 1
            self._free.append(lease.slot)

    def is_current(self, lease: Lease) -> bool:
        """Whether `lease` is still held by whom it was lent to."""
        with self._lock:
            return self._holds(lease)

    @property
    def free(self) -> int:
        """Slots that can be leased now."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Slots that are leased now."""
        return self.capacity - len(self._free)

    def _holds(self, lease: Lease) -> bool:
        # The lease cannot be of the future: generations only come from `lease`.
        return self._generations[lease.slot] == lease.generation
