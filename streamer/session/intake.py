"""The way of a stream's audio from wire samples to the model's chunks."""

from __future__ import annotations

from collections import deque
from typing import Any

from streamer.audio.framing import Framer
from streamer.audio.resample import Resampler
from streamer.session.clock import SampleMap
from streamer.work import Array


class Intake:
    """Resamples and frames audio, and knows for each model sample the wire sample and when its chunk was complete.

    Positions are model samples of the padded audio; see `SampleMap`. Times are seconds of the caller's clock.
    """

    def __init__(self, wire_rate: int, model_rate: int, chunk_samples: int, hop_samples: int) -> None:
        self._resampler = Resampler(wire_rate, model_rate)
        self._framer = Framer(chunk_samples, hop_samples)
        self._map = SampleMap(wire_rate, model_rate)
        # Arrival of the last sample of each complete chunk, oldest first.
        self._complete_at: deque[float] = deque()
        # Wire samples taken in, and how many of them a flush has covered.
        self._received = 0
        self._flushed = 0
        # Wire samples of the chunks that are done with; only grows.
        self._processed = 0

    @property
    def received(self) -> int:
        """Wire samples taken in."""
        return self._received

    @property
    def hold_back_samples(self) -> int:
        """Wire samples that resampling waits for."""
        return self._resampler.hold_back_samples

    @property
    def processed(self) -> int:
        """Wire samples of the chunks that are done with."""
        return self._processed

    @property
    def position(self) -> int:
        """Position after the last model sample framed, padding included."""
        return self._framer.pushed

    @property
    def next_end(self) -> int:
        """Position after the last sample of the next chunk."""
        return self._framer.next_end

    @property
    def complete_at(self) -> float | None:
        """When the last sample of the next chunk arrived; None when the chunk is not complete."""
        return self._complete_at[0] if self._complete_at else None

    @property
    def is_padded(self) -> bool:
        """Whether the next chunk ends in padding."""
        return self._map.is_padding(self._framer.next_end - 1)

    def take(self, samples: Array, now: float) -> None:
        """Take in wire samples, float32 `[n]`."""
        self._received += len(samples)
        self._framer.push(self._resampler.push(samples))
        self._note(now)

    def flush(self, n_zeros: int, now: float) -> int:
        """Pad until chunks cover all audio so far and `n_zeros` zeros; returns the position after the padding.

        The stream goes on after the padding with a fresh resampler. Without audio since the last flush there is
        nothing to pad.
        """
        if self._received > self._flushed:
            self._framer.push(self._resampler.flush())
            model_end = self._framer.pushed
            self._framer.flush(n_zeros)
            self._map.flush(model_end, self._received, self._framer.pushed)
            self._flushed = self._received
            self._note(now)
        return self._framer.pushed

    def peek(self) -> Array | None:
        """Return the next chunk, float32 `[chunk_samples]`, or None when it is not complete."""
        return self._framer.peek()

    def advance(self) -> None:
        """The next chunk is done with."""
        self._framer.pop()
        self._complete_at.popleft()
        self._processed = self._map.to_wire(self._framer.covered)

    def to_wire(self, position: int) -> int:
        """Return the wire sample of a model sample."""
        return self._map.to_wire(position)

    def forget(self, position: int) -> None:
        """No word before `position` will be asked for."""
        self._map.forget(position)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-compatible data."""
        return {
            "resampler": self._resampler.state(),
            "framer": self._framer.state(),
            "map": self._map.state(),
            "complete_at": list(self._complete_at),
            "received": self._received,
            "flushed": self._flushed,
            "processed": self._processed,
        }

    def restore(self, state: dict[str, Any], later_s: float) -> None:
        """Continue from what `state` returned, on a clock that is `later_s` ahead of the one of then."""
        self._resampler.restore(state["resampler"])
        self._framer.restore(state["framer"])
        self._map.restore(state["map"])
        self._complete_at = deque(at + later_s for at in state["complete_at"])
        self._received, self._flushed = state["received"], state["flushed"]
        self._processed = state["processed"]

    def _note(self, now: float) -> None:
        self._complete_at.extend([now] * (self._framer.ready - len(self._complete_at)))
