"""Python client: one stream over gRPC or WebSocket, with the same messages and the same errors."""

from streamer.client.pace import Arrival, Recording, stream_file
from streamer.client.stream import ClientStream, connect

__all__ = ["Arrival", "ClientStream", "Recording", "connect", "stream_file"]
