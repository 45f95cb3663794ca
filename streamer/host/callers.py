"""Who opens streams, as the host sees it; how clients prove who they are is the gateway's business."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of streams: the holder of a key, or `ANONYMOUS`. `max_streams` may be open at a time, None for any."""

    name: str
    max_streams: int | None = None


ANONYMOUS = Caller("")
