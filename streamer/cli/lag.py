"""How long after its audio a result comes, seen from the client.

*Lag* of an interim result: from sending the frame that holds the last sample the result needs, to receiving the result.
A result needs the audio up to the end of the chunk whose step produced it. That end is not on the wire; what is known
of it: it is not before the result's `end_sample` (the server clips word times to the audio heard), and it lies on the
grid of chunk ends, which `Flow.processed_sample` and `Ready.chunk_ms` tell. So the first grid point not before
`end_sample` is taken. Lag is therefore never understated, and exact when the newest word reaches into the last chunk,
as it nearly always does. It includes both transports and the load of the client; it excludes the algorithmic delay
of the model, which `Ready.delay_ms` states.

Finals are left out: they wait for silence on purpose. So are results that needed the padding behind the last sample;
how long that takes is the finalisation delay.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from streamer.session.messages import Finalized, Flow, Ready, Result, ServerMessage

# Positions are rounded to whole samples when the wire and the model differ in rate.
_ROUNDING_SAMPLES = 2


class LagMeter:
    """Measures the lag of one stream. Tell it each frame sent and each message received, times of one clock."""

    def __init__(self, ready: Ready) -> None:
        self._hop = max(1.0, ready.chunk_ms * ready.wire_rate / 1000)
        # A chunk end; None where it is not known. A flush in mid-stream shifts the grid.
        self._anchor: int | None = None
        self._ends: list[int] = []
        self._sent_at: list[float] = []

    def sent(self, samples: int, at: float) -> None:
        """Note a frame of `samples` that left at `at`."""
        self._ends.append((self._ends[-1] if self._ends else 0) + samples)
        self._sent_at.append(at)

    def received(self, message: ServerMessage, at: float) -> float | None:
        """Note a message that came at `at`; returns the lag in seconds if it is an interim result."""
        if isinstance(message, Flow) and message.processed_sample > 0:
            self._anchor = message.processed_sample
        elif isinstance(message, Finalized):
            self._anchor = None
        elif isinstance(message, Result) and not message.is_final:
            return self._lag(message.end_sample, at)
        return None

    def _lag(self, end_sample: int, at: float) -> float | None:
        needed = self._chunk_end(end_sample)
        frame = bisect_left(self._ends, needed)
        return at - self._sent_at[frame] if frame < len(self._ends) else None

    def _chunk_end(self, sample: int) -> int:
        if self._anchor is None:
            return sample
        hops = math.ceil((sample - _ROUNDING_SAMPLES - self._anchor) / self._hop)
        return max(sample, math.floor(self._anchor + hops * self._hop) - 1)
