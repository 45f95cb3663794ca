"""Home Assistant's client package against the shipped recogniser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from streamer.gateway.server import Addresses
from tests.e2e.recognised import RATE, SAMPLES, SHIPPED, clip, serving_recogniser
from tests.gateway.serving import with_loop

NAMES = [path.stem for path in SAMPLES]


def client_of(addresses: Addresses) -> AsyncTcpClient:
    return AsyncTcpClient(addresses.host, addresses.wyoming_port)


def chunks_of(pcm: bytes, samples: int = 1024) -> Iterator[Event]:
    for start in range(0, len(pcm), 2 * samples):
        yield AudioChunk(RATE, 2, 1, pcm[start : start + 2 * samples]).event()


async def events_of(client: AsyncTcpClient) -> AsyncIterator[Event]:
    while (event := await client.read_event()) is not None:
        yield event


async def assistant(addresses: Addresses, pcm: bytes) -> str:
    """What Home Assistant does for one command: upload and read at once, the first transcript counts."""

    async def upload(client: AsyncTcpClient) -> None:
        for chunk in chunks_of(pcm):
            await client.write_event(chunk)
        await client.write_event(AudioStop().event())

    async with client_of(addresses) as client:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(RATE, 2, 1).event())
        uploading = asyncio.create_task(upload(client))
        try:
            async for event in events_of(client):
                assert not Error.is_type(event.type), event
                if Transcript.is_type(event.type):
                    return Transcript.from_event(event).text
        finally:
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)
    raise AssertionError("expected a transcript")


@with_loop
async def test_the_transcript_is_the_batch_text(batch_texts: dict[str, str]) -> None:
    """Three assistants at once each hear what the command line hears in their clip."""
    async with serving_recogniser(wyoming_port=0) as (_, addresses):
        texts = await asyncio.gather(*(assistant(addresses, clip(name)) for name in NAMES))
    assert dict(zip(NAMES, texts, strict=True)) == batch_texts


@with_loop
async def test_transcripts_stream(batch_texts: dict[str, str]) -> None:
    """Info promises chunks; they come before the audio ends and are the transcript when put together."""
    async with serving_recogniser(models=SHIPPED, wyoming_port=0) as (_, addresses), client_of(addresses) as client:
        await client.write_event(Describe().event())
        described = await client.read_event()
        assert described is not None
        await client.write_event(Ping("x").event())
        assert Pong.from_event(await client.read_event()) == Pong("x")
        await client.write_event(Transcribe(name="asr-en", language="en-US").event())
        await client.write_event(AudioStart(RATE, 2, 1).event())
        for chunk in chunks_of(clip("ferry")):
            await client.write_event(chunk)
        early = [await client.read_event(), await client.read_event()]
        await client.write_event(AudioStop().event())
        late = []
        async for event in events_of(client):
            late.append(event)
            if TranscriptStop.is_type(event.type):
                break
    (program,) = Info.from_event(described).asr
    assert program.supports_transcript_streaming
    assert [(model.name, model.languages) for model in program.models] == [("asr-en", ["en"])]
    assert [event.type for event in early if event] == ["transcript-start", "transcript-chunk"]
    events = [event for event in early if event] + late
    assert TranscriptStart.from_event(events[0]).language == "en"
    chunks = [TranscriptChunk.from_event(event).text for event in events if TranscriptChunk.is_type(event.type)]
    (transcript,) = [Transcript.from_event(event) for event in events if Transcript.is_type(event.type)]
    assert (transcript.text, transcript.language) == (batch_texts["ferry"], "en")
    assert "".join(chunks) == transcript.text


REFUSED = [
    (Transcribe(name="whisper"), RATE, "unknown model 'whisper', expected one of asr-en@0.2.0", "unknown_model"),
    (Transcribe(language="de-CH"), RATE, "model asr-en speaks en, got language 'de-CH'", "invalid_request"),
    (Transcribe(), 4000, "expected an integer sample rate from 8000 to 48000 Hz, got 4000", "invalid_request"),
    (
        Transcribe(transcript_names=["Ferry"]),
        RATE,
        "hotword 'Ferry': expected characters that the model writes, got 'F'",
        "invalid_request",
    ),
]


@with_loop
async def test_what_cannot_be_served_is_refused() -> None:
    """The package reads the error before the connection closes, and no slot stays taken."""
    async with serving_recogniser(models=SHIPPED, wyoming_port=0) as (host, addresses):
        for request, rate, text, code in REFUSED:
            async with client_of(addresses) as client:
                await client.write_event(request.event())
                await client.write_event(AudioStart(rate, 2, 1).event())
                event = await client.read_event()
                assert event is not None
                assert Error.from_event(event) == Error(text, code)
                assert await client.read_event() is None
        await host.until_empty()


@with_loop
async def test_an_assistant_that_hangs_up_frees_its_slot() -> None:
    """The stream ends with its connection, in the middle of a word."""
    async with serving_recogniser(wyoming_port=0) as (host, addresses):
        async with client_of(addresses) as client:
            await client.write_event(AudioStart(RATE, 2, 1).event())
            for chunk in list(chunks_of(clip("honey")))[:20]:
                await client.write_event(chunk)
            assert TranscriptStart.is_type((await client.read_event()).type)
            assert host.open_streams == 1
        await host.until_empty()
