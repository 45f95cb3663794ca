"""How models run, and how many streams fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from streamer.bundle.manifest import Manifest
from streamer.bundle.runtime import Runtime
from streamer.errors import BundleError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`workers` None: one per CPU core, or one for cuda. `max_streams` and `memory_budget_bytes` are per bundle, over
    all workers; the scarcer one decides.
    """

    workers: int | None = None
    provider: Literal["cpu", "cuda"] = "cpu"
    max_batch: int = 8
    max_streams: int = 256
    memory_budget_bytes: int = 2048 * MIB
    intra_op_threads: int = 1

    @property
    def runtime(self) -> Runtime:
        """What decides, beside a graph, how its floats come out."""
        return Runtime(self.provider, self.intra_op_threads)


def bytes_per_stream(manifest: Manifest) -> int:
    """Return the state memory of one stream that leases all the rows it may."""
    rows = {pool.name: pool.max_rows_per_stream for pool in manifest.pools}
    return sum(
        rows[state.pool] * int(np.prod(state.dims, dtype=np.int64)) * state.dtype.itemsize for state in manifest.states
    )


def plan_capacity(manifest: Manifest, memory_budget_bytes: int, max_streams: int) -> dict[str, int]:
    """Return the number of slots of each pool for at most `max_streams` streams within the budget.

    Each pool's scratch row is paid from the budget too. Raises `BundleError` if not even one stream fits.
    """
    cost = bytes_per_stream(manifest)
    streams = min(max_streams, memory_budget_bytes // cost - 1) if cost else max_streams
    if streams < 1:
        raise BundleError(
            f"bundle {manifest.name}: a stream and the scratch rows need {2 * cost} bytes of state, "
            f"got a memory budget of {memory_budget_bytes}"
        )
    return {pool.name: streams * pool.max_rows_per_stream for pool in manifest.pools}


@cache
def bucket_sizes(max_batch: int) -> tuple[int, ...]:
    """Return the batch sizes that are run: powers of two below `max_batch`, then `max_batch` itself."""
    powers = (1 << exponent for exponent in range(max_batch.bit_length()))
    return (*(size for size in powers if size < max_batch), max_batch)
