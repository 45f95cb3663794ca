"""The gRPC service `streamer.v1.Codec`: streams of the task codec, each method of one kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from streamer.errors import InvalidRequest
from streamer.session.messages import ClientMessage, Config
from streamer.tasks.codec_options import SNC1, output_of

SERVICE = "streamer.v1.Codec"
TASK = "codec"


@dataclass(frozen=True, slots=True)
class Method:
    """What goes into the streams of a method, and what comes out: packets, or audio."""

    name: str
    takes_packets: bool
    makes_packets: bool

    async def only(self, incoming: AsyncIterator[ClientMessage]) -> AsyncIterator[ClientMessage]:
        """Pass messages on; raises `InvalidRequest` for a config of another kind."""
        async for message in incoming:
            yield self._checked(message) if isinstance(message, Config) else message

    def _checked(self, config: Config) -> Config:
        if config.task != TASK:
            raise InvalidRequest(f"{self.name}: expected task {TASK}, got {config.task!r:.100}")
        if (config.encoding == SNC1) != self.takes_packets:
            expected = f"encoding {SNC1}" if self.takes_packets else "an encoding of audio"
            raise InvalidRequest(f"{self.name}: expected {expected}, got {config.encoding!r}")
        if self.makes_packets and not config.codec.output:
            config = replace(config, codec=replace(config.codec, output=SNC1))
        output = output_of(config.codec, config.encoding)
        if (output == SNC1) != self.makes_packets:
            expected = SNC1 if self.makes_packets else "an encoding of audio"
            raise InvalidRequest(f"{self.name}: expected codec.output {expected}, got {output!r}")
        return config


METHODS = (Method("Encode", False, True), Method("Decode", True, False), Method("Transcode", True, True))
