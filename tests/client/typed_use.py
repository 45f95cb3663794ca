"""The client as users type it: `make check` has mypy read this file, strictly, and nobody runs it.

Every `type: ignore` is needed, so wrong calls are really refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, assert_type

from streamer.client import (
    Client,
    ClientStream,
    CodecOptions,
    Config,
    Microphone,
    Model,
    Reconnect,
    Result,
    Segment,
    Sound,
    Tls,
    Transcript,
    Word,
    connect,
    encode,
    transcribe,
)
from streamer.session.messages import Ready, ServerMessage


def files(client: Client, path: Path, opened: BinaryIO) -> None:
    transcript = client.transcribe(path, language="en", hotwords=["ada"])
    assert_type(transcript, Transcript)
    assert_type(transcript.segments, tuple[Segment, ...])
    assert_type(transcript.words[0], Word)
    client.transcribe("talk.wav")
    client.transcribe(b"")
    client.transcribe(opened)
    client.transcribe(7)  # type: ignore[arg-type]


def streams(client: Client, chunks: Iterator[bytes]) -> None:
    for result in client.stream(chunks, Config("pcm_s16le", 16000, 1)):
        assert_type(result, Result)
    for result in client.microphone(source=Microphone(8000)):
        assert_type(result.text, str)
    client.stream(["text"], Config("pcm_s16le", 16000, 1))  # type: ignore[list-item]
    assert_type(client.models(), tuple[Model, ...])


def codecs(client: Client, path: Path, chunks: Iterator[bytes]) -> None:
    packets = client.encode(path, CodecOptions(bitrate=3000, entropy="tables"))
    assert_type(packets, bytes)
    assert_type(client.decode(packets), Sound)
    assert_type(client.transcode(packets, CodecOptions(bitrate=1500)), bytes)
    for part in client.codec_stream(chunks, Config("snc1", 16000, 1, task="codec")):
        assert_type(part, bytes)
    client.decode(packets, 3000)  # type: ignore[arg-type]


async def asynchronously(config: Config) -> AsyncIterator[str]:
    patience = Reconnect(overflow="error", urls=("grpcs://b:1",))
    async with connect("grpcs://a:1", config, resumable=True, reconnect=patience, tls=Tls("ca.pem")) as stream:
        assert_type(stream, ClientStream)
        assert_type(stream.ready, Ready)
        assert_type(await stream.receive(), ServerMessage | None)
        async for message in stream:
            if isinstance(message, Result):
                yield message.text
    assert_type(await transcribe("ws://a:1", "talk.wav"), Transcript)
    assert_type(await encode("ws://a:1", "talk.wav", CodecOptions(fec=True)), bytes)
    Reconnect(overflow="drop")  # type: ignore[arg-type]
