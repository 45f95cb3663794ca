"""OpenAI's own Python client against the shipped recogniser: files."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from openai import AsyncOpenAI, OpenAI

from streamer.session.messages import Config, Ready
from tests.e2e.recogniser import CLIPS, Running, command_line, heard, recogniser
from tests.gateway.keyring import ADA, BOB, access_settings
from tests.gateway.serving import with_loop

CLIP = CLIPS[0]


@asynccontextmanager
async def client(server: Running, api_key: str = "none") -> AsyncIterator[AsyncOpenAI]:
    """A client that fails where it would try again, and asks no proxy."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with AsyncOpenAI(api_key=api_key, base_url=server.base_url, max_retries=0, http_client=http) as found:
        yield found


def test_every_format_says_what_the_command_line_says() -> None:
    """Text, times of words and segments, subtitles."""
    expected = heard(CLIP)
    subtitles = {form: command_line(CLIP, "--format", form) for form in ("srt", "vtt")}

    @with_loop
    async def ask() -> None:
        async with recogniser() as server, client(server) as openai_client:
            create = openai_client.audio.transcriptions.create
            plain = await create(file=CLIP, model="asr-en")
            text = await create(file=CLIP, model="asr-en@0.2.0", response_format="text", language="en")
            found = {form: await create(file=CLIP, model="asr-en", response_format=form) for form in subtitles}
            verbose = await create(
                file=CLIP, model="asr-en", response_format="verbose_json", timestamp_granularities=["word", "segment"]
            )
        assert expected["text"]
        assert plain.text == verbose.text == expected["text"]
        assert text == expected["text"] + "\n"
        assert found == subtitles
        assert plain.usage is not None
        assert plain.usage.to_dict() == {"type": "duration", "seconds": expected["duration_s"]}
        assert (verbose.language, verbose.duration) == ("en", expected["duration_s"])
        assert verbose.words is not None
        assert verbose.segments is not None
        words = [(word["word"], word["start_s"], word["end_s"]) for word in expected["words"]]
        assert [(word.word, word.start, word.end) for word in verbose.words] == words
        segments = [(segment["text"], segment["start_s"], segment["end_s"]) for segment in expected["segments"]]
        assert [(segment.text, segment.start, segment.end) for segment in verbose.segments] == segments

    ask()


@with_loop
async def test_words_only_where_they_are_asked_for() -> None:
    """Segments are the default, as at OpenAI."""
    async with recogniser() as server, client(server) as openai_client:
        create = openai_client.audio.transcriptions.create
        plain = await create(file=CLIP, model="asr-en", response_format="verbose_json")
        words = await create(
            file=CLIP, model="asr-en", response_format="verbose_json", timestamp_granularities=["word"]
        )
    assert (bool(plain.segments), bool(plain.words)) == (True, False)
    assert (bool(words.segments), bool(words.words)) == (False, True)


def test_events_make_the_text() -> None:
    """Several deltas, and together they are what the last event says."""
    expected = heard(CLIP)

    @with_loop
    async def ask() -> None:
        async with recogniser() as server, client(server) as openai_client:
            stream = await openai_client.audio.transcriptions.create(file=CLIP, model="asr-en", stream=True)
            events = [event async for event in stream]
        *deltas, done = events
        assert len(deltas) > 2
        assert {event.type for event in deltas} == {"transcript.text.delta"}
        assert done.type == "transcript.text.done"
        assert "".join(event.delta for event in deltas) == done.text == expected["text"]

    ask()


def test_the_blocking_client(tmp_path: Path) -> None:
    """The same over the client without an event loop, from files of every kind that soundfile writes."""
    sound, rate = soundfile.read(CLIP, dtype="float32")
    files = [tmp_path / f"a.{kind}" for kind in ("wav", "flac", "ogg", "mp3")]
    for file in files:
        soundfile.write(file, sound, rate)
    lines = map(json.loads, command_line(tmp_path, "--format", "jsonl").splitlines())
    expected = {Path(line["file"]).name: line["text"] for line in lines}

    def transcribe(base_url: str) -> dict[str, str]:
        http = openai.DefaultHttpxClient(trust_env=False)
        with OpenAI(api_key="none", base_url=base_url, max_retries=0, http_client=http) as blocking:
            create = blocking.audio.transcriptions.create
            return {file.name: create(file=file, model="asr-en").text for file in files}

    @with_loop
    async def serve() -> None:
        async with recogniser() as server:
            assert await asyncio.to_thread(transcribe, server.base_url) == expected

    serve()
    assert len(expected) == 4
    assert expected["a.wav"] == expected["a.flac"]


def test_keywords_are_hotwords() -> None:
    """The word that is likely is heard, as with `--hotword` on the command line."""
    expected = command_line(CLIP, "--hotword", "harbour office", "--format", "text")

    @with_loop
    async def ask() -> None:
        async with recogniser() as server, client(server) as openai_client:
            text = await openai_client.audio.transcriptions.create(
                file=CLIP, model="asr-en", response_format="text", keywords=["harbour office"]
            )
        assert text.split() == expected.split()

    ask()


@with_loop
async def test_aliases_make_clients_work_that_know_one_name() -> None:
    """Only if the settings say so; they are listed beside the models."""
    aliases = {"aliases": {"whisper-1": "asr-en"}}
    async with recogniser(openai=aliases) as server, client(server) as openai_client:
        listed = [model.id async for model in openai_client.models.list()]
        model = await openai_client.models.retrieve("whisper-1")
        text = (await openai_client.audio.transcriptions.create(file=CLIP, model="whisper-1")).text
    assert {"asr-en", "whisper-1"} <= set(listed)
    assert (model.id, model.object) == ("whisper-1", "model")
    assert text


REFUSED: list[tuple[dict[str, Any], type[openai.APIStatusError], str]] = [
    ({"model": "whisper-1"}, openai.NotFoundError, "model"),
    ({"model": "nope", "stream": True}, openai.NotFoundError, "model"),
    ({"prompt": "Names: Ada."}, openai.BadRequestError, "prompt"),
    ({"temperature": 0.4}, openai.BadRequestError, "temperature"),
    ({"response_format": "diarized_json"}, openai.BadRequestError, "response_format"),
    ({"include": ["logprobs"]}, openai.BadRequestError, "include"),
    ({"chunking_strategy": "auto"}, openai.BadRequestError, "chunking_strategy"),
    ({"chunking_strategy": {"type": "server_vad"}}, openai.BadRequestError, "chunking_strategy"),
    ({"languages": ["en", "de"]}, openai.BadRequestError, "languages"),
    ({"language": "de"}, openai.BadRequestError, "language"),
    ({"known_speaker_names": ["Ada"]}, openai.BadRequestError, "known_speaker_names"),
    ({"extra_body": {"hotwords": "x"}}, openai.BadRequestError, "hotwords"),
    ({"file": ("a.wav", b"not audio")}, openai.BadRequestError, "file"),
]


@with_loop
async def test_refusals_are_the_client_s_errors() -> None:
    """Each parameter that cannot be served is named where the client looks for it; a good request is served after."""
    async with recogniser() as server, client(server) as openai_client:
        for asked, kind, param in REFUSED:
            with pytest.raises(kind) as caught:
                await openai_client.audio.transcriptions.create(**{"file": CLIP, "model": "asr-en", **asked})
            assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
        assert (await openai_client.audio.transcriptions.create(file=CLIP, model="asr-en")).text


@with_loop
async def test_a_full_server_is_told_from_a_limit_of_the_key() -> None:
    """The one is an error of the server with a time to wait, the other of the client's rate."""
    keys = access_settings()
    async with recogniser(max_streams=1, access=keys) as server:
        stream = server.host.connect()
        await stream.send(Config("pcm_s16le", 16_000, 1))
        assert isinstance(await stream.receive(), Ready)
        async with client(server, ADA) as openai_client:
            with pytest.raises(openai.InternalServerError) as full:
                await openai_client.audio.transcriptions.create(file=CLIP, model="asr-en")
        stream.abort()
        async with client(server, BOB) as openai_client:
            for _ in range(2):
                await openai_client.models.retrieve("asr-en")
            with pytest.raises(openai.RateLimitError) as limited:
                await openai_client.models.retrieve("asr-en")
        async with client(server, "sk-nobody") as openai_client:
            for request in (openai_client.models.list, _transcribe(openai_client)):
                with pytest.raises(openai.AuthenticationError) as unknown:
                    await request()
    assert (full.value.status_code, full.value.code) == (503, "overloaded")
    assert float(full.value.response.headers["retry-after"]) >= 1
    assert limited.value.code == "rate_limit_exceeded"
    assert float(limited.value.response.headers["retry-after"]) >= 1
    assert unknown.value.code == "invalid_api_key"


def _transcribe(openai_client: AsyncOpenAI) -> Callable[[], Awaitable[Any]]:
    return lambda: openai_client.audio.transcriptions.create(file=CLIP, model="asr-en")


@with_loop
async def test_a_client_that_tries_again_is_served() -> None:
    """OpenAI's client does so by itself, after the wait that it is told, and finds the slot that has become free."""
    statuses = []
    async with recogniser(max_streams=1) as server:
        holder = server.host.connect()
        await holder.send(Config("pcm_s16le", 16_000, 1))
        assert isinstance(await holder.receive(), Ready)

        async def answered(response: Any) -> None:
            statuses.append(response.status_code)
            holder.abort()

        http = openai.DefaultAsyncHttpxClient(trust_env=False, event_hooks={"response": [answered]})
        async with AsyncOpenAI(api_key="none", base_url=server.base_url, max_retries=1, http_client=http) as patient:
            assert (await _transcribe(patient)()).text
    assert statuses == [503, 200]


@with_loop
async def test_a_client_that_goes_leaves_nothing() -> None:
    """Its stream ends at once; hours of audio would have kept the slot."""
    long = np.tile(soundfile.read(CLIP, dtype="int16")[0], 200)
    file = io.BytesIO()
    soundfile.write(file, long, 16_000, "PCM_16", format="FLAC")
    async with recogniser() as server, client(server) as openai_client:
        stream = await openai_client.audio.transcriptions.create(
            file=("long.flac", file.getvalue()), model="asr-en", stream=True
        )
        await anext(aiter(stream))
        assert server.host.open_streams == 1
        await stream.close()
        await server.host.until_empty()
