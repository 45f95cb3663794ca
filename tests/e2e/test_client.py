"""The Python client against the shipped recogniser: files of all kinds to text, over both transports."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import soundfile

from streamer.audio.extra import load_av
from streamer.client import Config, transcribe
from streamer.client.sync import Client
from streamer.errors import InvalidRequest, UnknownBundle
from tests.e2e.recognised import RATE, SAMPLES, serving_recogniser
from tests.gateway.serving import with_loop

CLIP = next(path for path in SAMPLES if path.stem == "honey")
needs_av = pytest.mark.skipif(load_av() is None, reason="the server decodes live flac and Opus with PyAV")


@functools.cache
def sound():
    return soundfile.read(CLIP, dtype="int16")[0]


def written(folder: Path, name: str, **options: str) -> Path:
    """The clip in another format."""
    soundfile.write(folder / name, sound() / 32768, RATE, **options)
    return folder / name


@contextlib.asynccontextmanager
async def urls() -> AsyncIterator[dict[str, str]]:
    async with serving_recogniser() as (_, addresses):
        yield {"grpc": addresses.grpc, "websocket": addresses.websocket}


@with_loop
async def test_wav_files_say_what_the_command_line_says(tmp_path, batch_texts):
    """Over both transports, whatever the width of their samples; words and times included."""
    async with urls() as served:
        for url, subtype in itertools.product(served.values(), ("PCM_16", "FLOAT", "PCM_24")):
            path = written(tmp_path, "talk.wav", subtype=subtype)
            transcript = await transcribe(url, path)
            assert transcript.text == batch_texts["honey"], (url, subtype)
            assert " ".join(word.word for word in transcript.words) == transcript.text
            assert transcript.duration_s == pytest.approx(len(sound()) / RATE)
            assert transcript.model.startswith("asr-en@")


@with_loop
async def test_uploads_say_the_same(tmp_path):
    """A format that only the server can decode: text, words and times are those of the stream."""
    wav, flac = written(tmp_path, "talk.wav"), CLIP
    async with urls() as served:
        streamed = await transcribe(served["grpc"], wav)
        uploaded = await transcribe(served["websocket"], flac)
        mp3 = await transcribe(served["websocket"], written(tmp_path, "talk.mp3"), model="asr-en")
        with pytest.raises(UnknownBundle, match=r"^model: expected one of asr-en@.*, got 'other'$"):
            await transcribe(served["websocket"], flac, model="other")
        with pytest.raises(InvalidRequest):
            await transcribe(served["websocket"], b"no audio at all, but enough bytes to look at it")
    assert (uploaded.text, uploaded.model) == (streamed.text, streamed.model)
    assert uploaded.duration_s == pytest.approx(streamed.duration_s, abs=0.001)
    for ours, theirs in zip(uploaded.segments, streamed.segments, strict=True):
        assert [word.word for word in ours.words] == [word.word for word in theirs.words]
        assert [word.start_s for word in ours.words] == pytest.approx([w.start_s for w in theirs.words], abs=0.001)
    assert mp3.text


@needs_av
@with_loop
async def test_flac_is_streamed_over_grpc(batch_texts):
    """Where there is no upload, the server decodes while the file arrives."""
    async with urls() as served:
        transcript = await transcribe(served["grpc"], CLIP)
    assert transcript.text == batch_texts["honey"]


@with_loop
async def test_a_stream_without_a_loop_says_the_same(batch_texts):
    """The synchronous client on a thread, with chunks as they come from a file."""
    data = sound().astype("<i2").tobytes()

    def texts(url: str) -> str:
        with Client(url) as client:
            results = client.stream(
                (data[i : i + 1000] for i in range(0, len(data), 1000)), Config("pcm_s16le", RATE, 1, mode="file")
            )
            return " ".join(result.text for result in results if result.is_final)

    async with urls() as served:
        assert await asyncio.to_thread(texts, served["websocket"]) == batch_texts["honey"]
