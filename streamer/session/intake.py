"""The way of a stream's audio from wire samples to the model's chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from streamer.audio.framing import Framer
from streamer.audio.resample import Resampler
from streamer.session.clock import Region, SampleMap, index_of
from streamer.work import Array


@dataclass(frozen=True, slots=True)
class Replay:
    """Where a stream can be taken up: with the chunk at `position`, audio from `wire_sample` on, cut into `regions`."""

    position: int
    wire_sample: int
    regions: tuple[Region, ...]


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
        # Position after the last model sample that is no padding, as of the last flush.
        self._end = 0
        # Regions of an earlier life of the stream whose audio is yet to come again, after the padding before them.
        self._known: deque[Region] = deque()

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
    def start(self) -> int:
        """Position of the first sample of the next chunk."""
        return self._framer.start

    @property
    def heard(self) -> int:
        """Position after the last sample of the chunks that are done with."""
        return self._framer.covered

    @property
    def next_end(self) -> int:
        """Position after the last sample of the next chunk."""
        return self._framer.next_end

    @property
    def end(self) -> int:
        """Position after the last model sample before the padding of the last flush; 0 before there was one."""
        return self._end

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
        while self._known and self._received + len(samples) >= self._known[0].wire_start:
            head = self._known[0].wire_start - self._received
            self._push(samples[:head])
            samples = samples[head:]
            self._pad_again(self._known.popleft())
        self._push(samples)
        self._note(now)

    def flush(self, n_zeros: int, now: float) -> int:
        """Pad until chunks cover all audio so far and `n_zeros` zeros; returns the position after the padding.

        The stream goes on after the padding with a fresh resampler. Without audio since the last flush there is
        nothing to pad.
        """
        if self._received > self._flushed:
            self._framer.push(self._resampler.flush())
            self._end = self._framer.pushed
            self._framer.flush(n_zeros)
            self._map.flush(self._end, self._received, self._framer.pushed)
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

    def replay(self, memory_samples: int) -> Replay | None:
        """Return where audio must begin to make up the next chunk and the `memory_samples` before it again.

        None while the audio there is padding of a control that has not acted: its client will ask for it again.
        """
        position = max(0, self._framer.start - memory_samples)
        position -= position % self._framer.hop_samples
        regions = self._map.up_to(self._framer.next_end)
        if self._map.is_padding(position) and index_of(regions, position) == len(regions) - 1:
            return None
        return Replay(position, self._wire_start(regions, position), regions)

    def go_on(self, replay: Replay, now: float) -> None:
        """Begin with the chunk at `replay.position` of another life of the stream.

        Where that one was flushed the same padding is put again.
        """
        regions, position = replay.regions, replay.position
        self._map.go_on(regions)
        self._framer.jump(position)
        self._received = replay.wire_sample
        self._processed = self._map.to_wire(self._framer.covered)
        index = index_of(regions, position)
        self._flushed = regions[index].wire_start
        self._known = deque(regions[index + 1 :])
        if self._map.is_padding(position):
            self._pad_again(self._known.popleft())
        else:
            self._resampler.jump(position - regions[index].model_start)
        # Padding alone may make up a chunk.
        self._note(now)

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
            "known": [asdict(region) for region in self._known],
        }

    def restore(self, state: dict[str, Any], later_s: float) -> None:
        """Continue from what `state` returned, on a clock that is `later_s` ahead of the one of then."""
        self._resampler.restore(state["resampler"])
        self._framer.restore(state["framer"])
        self._map.restore(state["map"])
        self._complete_at = deque(at + later_s for at in state["complete_at"])
        self._received, self._flushed = state["received"], state["flushed"]
        self._processed = state["processed"]
        self._known = deque(Region(**region) for region in state["known"])

    def _wire_start(self, regions: Sequence[Region], position: int) -> int:
        index = index_of(regions, position)
        region = regions[index]
        if region.model_end is not None and position >= region.model_end:
            return regions[index + 1].wire_start
        return region.wire_start + self._resampler.first_input(position - region.model_start)

    def _push(self, samples: Array) -> None:
        self._received += len(samples)
        self._framer.push(self._resampler.push(samples))

    def _pad_again(self, region: Region) -> None:
        """Make up the padding before `region`, whose audio comes next."""
        self._framer.push(self._resampler.flush())
        self._framer.push(np.zeros(region.model_start - self._framer.pushed, np.float32))
        self._flushed = region.wire_start

    def _note(self, now: float) -> None:
        self._complete_at.extend([now] * (self._framer.ready - len(self._complete_at)))
