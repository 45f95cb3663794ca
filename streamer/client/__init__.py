"""Python client: streams over gRPC or WebSocket, with the same messages and the same errors."""

from streamer.client.access import Tls
from streamer.client.pace import Arrival, Recording, stream_file
from streamer.client.reconnect import BufferFull, CannotResume, Reconnect
from streamer.client.stream import ClientStream, connect

__all__ = [
    "Arrival",
    "BufferFull",
    "CannotResume",
    "ClientStream",
    "Reconnect",
    "Recording",
    "Tls",
    "connect",
    "stream_file",
]
