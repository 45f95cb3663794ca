"""Python client: files, microphones and streams to text, through a server, over gRPC or WebSocket.

`Client` is for programs without an event loop, `connect` and `transcribe` for those with one.
"""

from streamer.client.access import Tls
from streamer.client.files import transcribe
from streamer.client.microphone import Microphone
from streamer.client.pace import Arrival, Recording, stream_file
from streamer.client.reconnect import BufferFull, CannotResume, Reconnect
from streamer.client.stream import ClientStream, connect
from streamer.client.sync import Client
from streamer.session.messages import Config, Endpointing, Result
from streamer.session.messages import ModelInfo as Model
from streamer.transcripts.transcript import Segment, Transcript, Word

__all__ = [
    "Arrival",
    "BufferFull",
    "CannotResume",
    "Client",
    "ClientStream",
    "Config",
    "Endpointing",
    "Microphone",
    "Model",
    "Reconnect",
    "Recording",
    "Result",
    "Segment",
    "Tls",
    "Transcript",
    "Word",
    "connect",
    "stream_file",
    "transcribe",
]
