"""Python client: files, microphones and streams to text, or to packets of a codec, over gRPC or WebSocket.

`Client` is for programs without an event loop; `connect`, `transcribe`, `encode`, `decode` and `transcode` are for
those with one.
"""

from streamer.client.access import Tls
from streamer.client.codec import Sound, decode, encode, transcode
from streamer.client.files import transcribe
from streamer.client.microphone import Microphone
from streamer.client.pace import Arrival, Recording, stream_file
from streamer.client.reconnect import BufferFull, CannotResume, Reconnect
from streamer.client.stream import ClientStream, connect
from streamer.client.sync import Client
from streamer.session.messages import AudioOut, CodecOptions, Config, Endpointing, Packets, Result
from streamer.session.messages import ModelInfo as Model
from streamer.transcripts.transcript import Segment, Transcript, Word

__all__ = [
    "Arrival",
    "AudioOut",
    "BufferFull",
    "CannotResume",
    "Client",
    "ClientStream",
    "CodecOptions",
    "Config",
    "Endpointing",
    "Microphone",
    "Model",
    "Packets",
    "Reconnect",
    "Recording",
    "Result",
    "Segment",
    "Sound",
    "Tls",
    "Transcript",
    "Word",
    "connect",
    "decode",
    "encode",
    "stream_file",
    "transcode",
    "transcribe",
]
