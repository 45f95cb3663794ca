"""Packets of an SNC1 stream, taken from bytes in any cuts; what is damaged becomes a loss."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.audio.snc1 import Header, Lost, Packet


class PacketReader:
    """Splits bytes into packets. Gaps in their numbers, and damage, are yielded as `Lost`.

    `header` and `total_samples` are None until they are known.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        self.total_samples: int | None = None

    @property
    def missing(self) -> str | None:
        """What the stream lacks; to be asked after `finish`."""
        raise NotImplementedError

    def feed(self, data: bytes) -> Iterator[Packet | Lost]:
        """Take bytes and yield the packets that they complete; raises `InvalidRequest` for what is no SNC1 stream."""
        raise NotImplementedError

    def finish(self) -> Iterator[Packet | Lost]:
        """There are no more bytes: yield the packets that waited for more, and what was lost at the end."""
        raise NotImplementedError
