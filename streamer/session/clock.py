"""Which sample of the client's audio a sample of the model's audio is."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from typing import Any

# A word of the first segment after a flush may begin, by its token's delay, in the audio before.
_KEPT_REGIONS = 2


@dataclass(frozen=True, slots=True)
class _Region:
    """Audio between two flushes: where it begins, and once flushed where it ends, at both rates."""

    model_start: int
    wire_start: int
    model_end: int | None = None
    wire_end: int | None = None


class SampleMap:
    """Maps model samples to wire samples, around the padding that each flush puts into the model's audio.

    Padding maps to the end of the audio before it, so no word lies in audio that the client never sent.
    """

    def __init__(self, wire_rate: int, model_rate: int) -> None:
        self._wire_rate = wire_rate
        self._model_rate = model_rate
        self._regions = [_Region(0, 0)]

    def flush(self, model_end: int, wire_end: int, next_model_start: int) -> None:
        """Note that the audio so far ended at these samples and goes on at `next_model_start`, after padding."""
        self._regions[-1] = replace(self._regions[-1], model_end=model_end, wire_end=wire_end)
        self._regions.append(_Region(next_model_start, wire_end))

    def to_wire(self, model_sample: int) -> int:
        """Return the wire sample, rounded down; never after the end of the audio before a flush."""
        index = bisect_right(self._regions, model_sample, key=lambda region: region.model_start)
        region = self._regions[max(index - 1, 0)]
        wire = region.wire_start + max(model_sample - region.model_start, 0) * self._wire_rate // self._model_rate
        return wire if region.wire_end is None else min(wire, region.wire_end)

    def is_padding(self, model_sample: int) -> bool:
        """Whether this sample was made up by a flush."""
        index = bisect_right(self._regions, model_sample, key=lambda region: region.model_start)
        end = self._regions[max(index - 1, 0)].model_end
        return end is not None and model_sample >= end

    def forget(self, model_sample: int) -> None:
        """Drop the regions that only words before `model_sample` need."""
        index = bisect_right(self._regions, model_sample, key=lambda region: region.model_start)
        del self._regions[: max(index - _KEPT_REGIONS, 0)]

    def state(self) -> list[dict[str, Any]]:
        """Return the regions as JSON-compatible data."""
        return [asdict(region) for region in self._regions]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Continue from what `state` returned."""
        self._regions = [_Region(**region) for region in state]
