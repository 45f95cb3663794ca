"""Joins sessions to the engine: admission, back-pressure, bounded outboxes, timers and drain."""

from streamer.host.catalogue import ModelInfo
from streamer.host.host import Host
from streamer.host.stream import Stream

__all__ = ["Host", "ModelInfo", "Stream"]
