"""Python client: files, microphones and streams to text, or to packets of a codec, and text to speech.

All of it over gRPC or WebSocket. `Client` is for programs without an event loop; `connect`, `transcribe`, `synthesize`,
`speak`, `encode`, `decode` and `transcode` are for those with one.
"""

from streamer.client.access import Tls
from streamer.client.codec import Sound, decode, encode, transcode
from streamer.client.files import transcribe
from streamer.client.microphone import Microphone
from streamer.client.pace import Arrival, Recording, stream_file
from streamer.client.reconnect import BufferFull, CannotResume, Reconnect
from streamer.client.stream import ClientStream, connect
from streamer.client.sync import Client
from streamer.client.synthesis import speak, synthesize
from streamer.session.messages import (
    AudioOut,
    CodecOptions,
    Config,
    Endpointing,
    Packets,
    Result,
    Spoken,
    SpokenWord,
    SynthesisOptions,
)
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
    "Spoken",
    "SpokenWord",
    "SynthesisOptions",
    "Tls",
    "Transcript",
    "Word",
    "connect",
    "decode",
    "encode",
    "speak",
    "stream_file",
    "synthesize",
    "transcode",
    "transcribe",
]
