"""Cutting a stream of samples into the overlapping chunks of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamer.audio.snapshot import from_text, to_text
from streamer.work import Array

_FIRST_CAPACITY = 4096


class Framer:
    """Cuts samples into chunks: chunk `k` holds samples `k * hop_samples` to `k * hop_samples + chunk_samples`.

    So the first chunk waits for `chunk_samples` samples, each later one for `hop_samples` more. Positions count from
    the first sample ever pushed, padding included.
    """

    def __init__(self, chunk_samples: int, hop_samples: int) -> None:
        if not 1 <= hop_samples <= chunk_samples:
            raise ValueError(f"expected 1 <= hop_samples <= chunk_samples, got {hop_samples} and {chunk_samples}")
        self.chunk_samples = chunk_samples
        self.hop_samples = hop_samples
        # Samples `start` to `pushed` are `_buffer[_first : _last]`.
        self._buffer: Array = np.zeros(max(_FIRST_CAPACITY, 2 * chunk_samples), np.float32)
        self._first = 0
        self._last = 0
        self._start = 0

    @property
    def start(self) -> int:
        """Position of the first sample of the next chunk."""
        return self._start

    @property
    def next_end(self) -> int:
        """Position after the last sample of the next chunk."""
        return self._start + self.chunk_samples

    @property
    def pushed(self) -> int:
        """Position after the last sample pushed."""
        return self._start + self._last - self._first

    @property
    def covered(self) -> int:
        """Position after the last sample of the last chunk popped; 0 before the first."""
        return self._start + self.chunk_samples - self.hop_samples if self._start else 0

    @property
    def ready(self) -> int:
        """How many chunks `pop` can return now."""
        return max(0, (self.pushed - self.next_end) // self.hop_samples + 1)

    def jump(self, start: int) -> None:
        """Go on with the chunk that begins at sample `start` as if all samples before were pushed and done with."""
        if start % self.hop_samples:
            raise ValueError(f"expected a multiple of {self.hop_samples} samples, got {start}")
        self._first = self._last = 0
        self._start = start

    def push(self, samples: Array) -> None:
        """Append float32 samples `[n]`."""
        self._make_room(len(samples))
        self._buffer[self._last : self._last + len(samples)] = samples
        self._last += len(samples)

    def peek(self) -> Array | None:
        """Return a copy of the next chunk, float32 `[chunk_samples]`, or None when it is not complete."""
        if not self.ready:
            return None
        return self._buffer[self._first : self._first + self.chunk_samples].copy()

    def pop(self) -> Array | None:
        """Return the next chunk, float32 `[chunk_samples]`, and move on; None when it is not complete."""
        chunk = self.peek()
        if chunk is not None:
            self._first += self.hop_samples
            self._start += self.hop_samples
        return chunk

    def flush(self, n_zeros: int) -> int:
        """Pad until whole chunks cover everything pushed and `n_zeros` zeros more; returns how many zeros it took.

        Samples pushed afterwards follow the padding, in the next chunk.
        """
        target = self.pushed + n_zeros
        if target <= self.covered:
            return 0
        hops = max(0, -((self.next_end - target) // self.hop_samples))
        padding = self.next_end + hops * self.hop_samples - self.pushed
        self.push(np.zeros(padding, np.float32))
        return padding

    def state(self) -> dict[str, Any]:
        """Return the position and the samples not yet done with, as JSON-compatible data."""
        return {"start": self._start, "samples": to_text(self._buffer[self._first : self._last])}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._first = self._last = 0
        self._start = state["start"]
        self.push(from_text(state["samples"]))

    def _make_room(self, n: int) -> None:
        if self._last + n <= len(self._buffer):
            return
        kept = self._buffer[self._first : self._last]
        # Twice what is kept: a sample is moved a bounded number of times on average, whatever the size of the pushes.
        capacity = max(_FIRST_CAPACITY, 2 * self.chunk_samples, 2 * (len(kept) + n))
        buffer = self._buffer if capacity <= len(self._buffer) else np.zeros(capacity, np.float32)
        buffer[: len(kept)] = kept.copy()
        self._buffer, self._first, self._last = buffer, 0, len(kept)
