"""Which sample of the client's audio a sample of the model's audio is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

# A word of the first segment after a flush may begin, by its token's delay, in the audio before.
_KEPT_REGIONS = 2


@dataclass(frozen=True, slots=True)
class Region:
    """Audio between two flushes: where it begins, and once flushed where it ends, at both rates.

    The audio of the next region follows it on the wire; in the model's audio there may be padding between them.
    """

    model_start: int
    wire_start: int
    model_end: int | None = None
    wire_end: int | None = None


def index_of(regions: Sequence[Region], model_sample: int) -> int:
    """Return which of `regions` holds `model_sample`, padding after it included; the first one if none does."""
    return max(bisect_right(regions, model_sample, key=lambda region: region.model_start) - 1, 0)


class SampleMap:
    """Maps model samples to wire samples, around the padding that each flush puts into the model's audio.

    Padding maps to the end of the audio before it, so no word lies in audio that the client never sent.
    """

    def __init__(self, wire_rate: int, model_rate: int) -> None:
        self._wire_rate = wire_rate
        self._model_rate = model_rate
        self._regions = [Region(0, 0)]

    def flush(self, model_end: int, wire_end: int, next_model_start: int) -> None:
        """Note that the audio so far ended at these samples and goes on at `next_model_start`, after padding."""
        self._regions[-1] = replace(self._regions[-1], model_end=model_end, wire_end=wire_end)
        self._regions.append(Region(next_model_start, wire_end))

    def up_to(self, model_sample: int) -> tuple[Region, ...]:
        """Return the regions that begin before `model_sample`, the last one as if it had not been flushed yet."""
        regions = [region for region in self._regions if region.model_start < max(model_sample, 1)]
        return (*regions[:-1], replace(regions[-1], model_end=None, wire_end=None))

    def go_on(self, regions: Sequence[Region]) -> None:
        """Take the `regions` of an earlier life of the stream."""
        self._regions = list(regions)

    def to_wire(self, model_sample: int) -> int:
        """Return the wire sample, rounded down; never after the end of the audio before a flush."""
        region = self._regions[index_of(self._regions, model_sample)]
        wire = region.wire_start + max(model_sample - region.model_start, 0) * self._wire_rate // self._model_rate
        return wire if region.wire_end is None else min(wire, region.wire_end)

    def is_padding(self, model_sample: int) -> bool:
        """Whether this sample was made up by a flush."""
        end = self._regions[index_of(self._regions, model_sample)].model_end
        return end is not None and model_sample >= end

    def forget(self, model_sample: int) -> None:
        """Drop the regions that only words before `model_sample` need."""
        del self._regions[: max(index_of(self._regions, model_sample) + 1 - _KEPT_REGIONS, 0)]

    def state(self) -> list[dict[str, Any]]:
        """Return the regions as JSON-compatible data."""
        return [asdict(region) for region in self._regions]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Continue from what `state` returned."""
        self._regions = [Region(**region) for region in state]
