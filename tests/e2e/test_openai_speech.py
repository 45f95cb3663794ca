"""OpenAI's own Python client against a voice that can be worked out by hand: speech."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import openai
import pytest
import soundfile
from openai import AsyncOpenAI, OpenAI

from streamer.audio.files import UploadLimits, open_upload
from streamer.client import SynthesisOptions, speak
from tests.e2e.serving import Served, serving
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.serving import with_loop
from tests.toys.voice import write_voice

TEXT = "Hello, world. Two zorks cost $3.50, good morning!"
RATE = 24_000


@asynccontextmanager
async def client(served: Served, api_key: str = "none") -> AsyncIterator[AsyncOpenAI]:
    """A client that fails where it would try again, and asks no proxy."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with AsyncOpenAI(api_key=api_key, base_url=base_url(served), max_retries=0, http_client=http) as found:
        yield found


def base_url(served: Served) -> str:
    return f"http://{served.addresses.host}:{served.addresses.http_port}/v1"


async def said(served: Served, options: SynthesisOptions = SynthesisOptions()) -> bytes:  # noqa: B008 - frozen
    """What our own client gets for the same text."""
    return (await speak(served.addresses.websocket, TEXT, options, sample_rate=RATE)).data


@with_loop
async def test_sound_is_that_of_our_own_client(tmp_path: Path) -> None:
    """Sample by sample, at any speed and with any seed; in lossless files too."""
    async with serving(tmp_path, "websocket", write=write_voice) as served, client(served) as openai_client:
        create = openai_client.audio.speech.create
        pcm = await create(model="tts-1", voice="alloy", input=TEXT, response_format="pcm")
        assert pcm.content == await said(served)
        extra = {"seed": 5, "temperature": 1.5}
        other = await create(
            model="tts-1", voice="nova", input=TEXT, response_format="pcm", speed=1.25, extra_body=extra
        )
        assert other.content == await said(served, SynthesisOptions(speed=1.25, seed=5, temperature=1.5))
        assert other.content != pcm.content
        wav = await create(model="tts-1", voice="alloy", input=TEXT, response_format="wav")
        assert wav.content[44:] == pcm.content
        flac = await create(model="tts-1", voice="alloy", input=TEXT, response_format="flac")
        with open_upload(io.BytesIO(flac.content), "a.flac", UploadLimits(max_duration_s=60)) as audio:
            found = np.concatenate(list(audio.blocks()))
        assert (found * 32768).astype("<i2").tobytes() == pcm.content


@with_loop
async def test_the_streaming_client(tmp_path: Path) -> None:
    """Its usual way to files: MP3, written while it comes."""
    async with serving(tmp_path, "websocket", write=write_voice) as served, client(served) as openai_client:
        speech = openai_client.audio.speech.with_streaming_response
        async with speech.create(model="gpt-4o-mini-tts", voice="coral", input=TEXT) as response:
            assert response.headers["content-type"] == "audio/mpeg"
            await response.stream_to_file(tmp_path / "speech.mp3")
        sound, rate = soundfile.read(tmp_path / "speech.mp3")
        seconds = len(await said(served)) / 2 / RATE
        assert rate == RATE
        assert np.std(sound) > 0
        assert seconds <= len(sound) / rate < seconds + 0.2


@with_loop
async def test_events_make_the_file(tmp_path: Path) -> None:
    """Deltas put together are the file."""
    async with serving(tmp_path, "websocket", write=write_voice) as served, client(served) as openai_client:
        speech = openai_client.audio.speech.with_streaming_response
        async with speech.create(
            model="tts-1", voice="alloy", input=TEXT, response_format="pcm", stream_format="sse"
        ) as response:
            lines = [line async for line in response.iter_lines() if line]
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        expected = await said(served)
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == expected
    frames = -(-len(expected) // 2 // 480)
    assert events[-1]["usage"] == {
        "input_tokens": len(TEXT),
        "output_tokens": frames,
        "total_tokens": len(TEXT) + frames,
    }


@with_loop
async def test_errors_are_those_of_the_client(tmp_path: Path) -> None:
    """Each class of its exceptions for what it is meant for, with the parameter's name."""
    async with serving(tmp_path, "websocket", write=write_voice, access=access_settings()) as served:
        async with client(served, ADA) as openai_client:
            create = openai_client.audio.speech.create
            with pytest.raises(openai.BadRequestError) as voice:
                await create(model="tts-1", voice="kathleen-of-elsewhere", input=TEXT)
            with pytest.raises(openai.BadRequestError) as speed:
                await create(model="tts-1", voice="alloy", input=TEXT, speed=4.0)
            with pytest.raises(openai.NotFoundError) as model:
                await create(model="tts-2", voice="alloy", input=TEXT)
        async with client(served) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
    assert voice.value.param == "voice"
    assert "expected one of" in voice.value.message
    assert (speed.value.param, model.value.code) == ("speed", "model_not_found")


@with_loop
async def test_a_client_that_goes_frees_its_slot(tmp_path: Path) -> None:
    """The only slot there is, before all was heard; the next client gets it."""
    text = "Good morning, world. " * 190
    async with (
        serving(tmp_path, "websocket", max_streams=1, write=write_voice) as served,
        client(served) as openai_client,
    ):
        speech = openai_client.audio.speech.with_streaming_response
        async with speech.create(model="tts-1", voice="alloy", input=text, response_format="pcm") as response:
            heard = await anext(aiter(response.iter_bytes(1000)))
            assert len(heard) == 1000
            with pytest.raises(openai.InternalServerError, match="slot"):
                await openai_client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
        again = None
        while again is None:
            try:
                again = await openai_client.audio.speech.create(
                    model="tts-1", voice="alloy", input="Hello.", response_format="pcm"
                )
            except openai.InternalServerError:
                await asyncio.sleep(0)
        assert again.content


def test_the_blocking_client(tmp_path: Path) -> None:
    """The same without an event loop."""

    def ask(url: str) -> bytes:
        http = openai.DefaultHttpxClient(trust_env=False)
        with OpenAI(api_key="none", base_url=url, max_retries=0, http_client=http) as blocking:
            return blocking.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="pcm").content

    @with_loop
    async def serve() -> None:
        async with serving(tmp_path, "websocket", write=write_voice) as served:
            assert await asyncio.to_thread(ask, base_url(served)) == await said(served)

    serve()
