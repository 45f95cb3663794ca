"""`POST /v1/audio/speech` over HTTP, against a fake host."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import soundfile

from streamer.audio import extra
from streamer.audio.encoders import MEDIA_TYPES
from streamer.errors import InvalidRequest, ModelFault, Overloaded, StreamerError
from streamer.gateway.openai.speech import RATE
from streamer.gateway.server import Addresses
from streamer.session.messages import Config, End, Text
from streamer.tasks.synthesis_options import SynthesisOptions
from tests.gateway.fake_voice import FakeVoiceHost, config_of, sound_of
from tests.gateway.keyring import ADA, access_settings, bearer
from tests.gateway.serving import serving, with_loop

PATH = "/v1/audio/speech"
HELLO = "Hello there."


@asynccontextmanager
async def asking(addresses: Addresses, headers: dict[str, str] | None = None, **members: Any) -> AsyncIterator[Any]:
    """A response that is read while it comes."""
    body = {"model": "tts-1", "voice": "alloy", "input": HELLO, **members}
    url = f"http://{addresses.host}:{addresses.http_port}{PATH}"
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("POST", url, json=body, headers=headers) as response,
    ):
        yield response


async def post(addresses: Addresses, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    async with asking(addresses, headers, **members) as response:
        await response.aread()
        found: httpx.Response = response
        return found


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@with_loop
async def test_text_is_a_stream_of_mode_file() -> None:
    """Long text is sent in parts; its sound comes back as it is."""
    host = FakeVoiceHost()
    text = "ab " * 1500
    async with serving(host, openai={"max_input_chars": 5000}) as addresses:
        response = await post(addresses, input=text, response_format="pcm", speed=1.5, seed=3, voice="kathleen")
    options = SynthesisOptions("kathleen", 1.5, seed=3)
    config, *texts, end = host.streams[0].got
    assert config == Config("text", RATE, 1, task="synthesize", model="voice@1", mode="file", synthesis=options)
    assert texts == [Text(text[:4000]), Text(text[4000:])]
    assert end == End()
    assert response.content == sound_of(text)
    assert response.headers["content-type"] == "audio/pcm"
    assert response.headers["x-streamer-model"] == "voice@1"
    assert response.headers["cache-control"] == "no-store"
    assert host.streams[0].aborted.is_set()


@pytest.mark.parametrize("form", MEDIA_TYPES)
@with_loop
async def test_every_format(form: str) -> None:
    """Each is what it says it is."""
    if form == "aac":
        pytest.importorskip("av")
    heads = {"mp3": b"\xff\xf3", "opus": b"OggS", "aac": b"\xff\xf1", "flac": b"fLaC", "wav": b"RIFF\xff\xff\xff\xff"}
    async with serving(FakeVoiceHost()) as addresses:
        response = await post(addresses, response_format=form)
    assert response.status_code == 200
    assert response.headers["content-type"] == MEDIA_TYPES[form]
    assert response.content.startswith(heads.get(form, sound_of("H")))
    if form in ("mp3", "opus"):
        assert soundfile.info(io.BytesIO(response.content)).samplerate == RATE


@pytest.mark.parametrize("form", ["mp3", "opus", "flac", "wav", "pcm"])
@with_loop
async def test_sound_comes_while_it_is_made(form: str) -> None:
    """The file goes on when there is more: at the asterisk the fake voice waits to be let on."""
    host = FakeVoiceHost()
    async with serving(host) as addresses, asking(addresses, input="a" * 80 + "*", response_format=form) as response:
        pieces = response.aiter_bytes()
        early = len(await anext(pieces))
        host.streams[0].room.set()
        late = [piece async for piece in pieces]
    assert early > 0
    assert late or form in ("pcm", "wav")


@with_loop
async def test_events() -> None:
    """Pieces of the file in base64, then what it cost: characters, and frames of 20 ms."""
    async with serving(FakeVoiceHost()) as addresses:
        response = await post(addresses, response_format="wav", stream_format="sse")
        empty = await post(addresses, input="!", stream_format="sse")
    assert response.headers["content-type"].startswith("text/event-stream")
    *deltas, done = events_of(response)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(event["audio"]) for event in deltas)[44:] == sound_of(HELLO)
    usage = {"input_tokens": 12, "output_tokens": 6, "total_tokens": 18}
    assert done == {"type": "speech.audio.done", "usage": usage}
    assert (empty.status_code, error_of(empty)["message"]) == (500, "step failed")


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line]


@with_loop
async def test_text_without_sound() -> None:
    """A file without samples is still a file."""
    async with serving(FakeVoiceHost()) as addresses:
        response = await post(addresses, input="~", response_format="wav")
        assert (response.status_code, len(response.content)) == (200, 44)


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize(
    ("error", "status", "param", "code"),
    [
        (Overloaded("no slot", 1.5), 503, None, "overloaded"),
        (ModelFault("step failed"), 500, None, "server_error"),
        (InvalidRequest("synthesis voice: expected one of a, b, got 'c'"), 400, "voice", "invalid_request"),
    ],
)
@with_loop
async def test_a_refused_stream_has_its_status(
    error: StreamerError, status: int, param: str | None, code: str, stream_format: str
) -> None:
    """Nothing is answered before there is sound."""
    host = FakeVoiceHost()
    host.error = error
    async with serving(host) as addresses:
        response = await post(addresses, stream_format=stream_format)
    assert response.status_code == status
    message = str(error).removeprefix("synthesis ")
    assert (error_of(response)["message"], error_of(response)["param"], error_of(response)["code"]) == (
        message,
        param,
        code,
    )
    assert (response.headers.get("retry-after") is not None) == (status == 503)
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_a_fault_in_the_middle_breaks_the_file_off() -> None:
    """A file that is not whole does not end like one; events say what happened."""
    host = FakeVoiceHost()
    async with serving(host) as addresses:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(addresses, input="Hello!", response_format="pcm")
        response = await post(addresses, input="Hello!", stream_format="sse", response_format="pcm")
    first, last = events_of(response)
    assert base64.b64decode(first["audio"]) == sound_of("Hello")
    assert last["error"] == {"message": "step failed", "type": "server_error", "param": None, "code": "server_error"}
    assert all(stream.aborted.is_set() for stream in host.streams)


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize("text", ["*", "Hello*"])
@with_loop
async def test_a_client_that_goes_frees_its_slot(stream_format: str, text: str) -> None:
    """At once, though the stream would have gone on; also if there is no sound yet."""
    host = FakeVoiceHost()
    async with serving(host) as addresses:
        request = asyncio.create_task(post(addresses, input=text, stream_format=stream_format))
        await host.connected.wait()
        stream = host.streams[0]
        await stream.has_text.wait()
        assert not stream.aborted.is_set()
        request.cancel()
        await stream.aborted.wait()


@with_loop
async def test_refusals_take_no_slot() -> None:
    """A parameter, too much text, a body that is no JSON or too large."""
    host = FakeVoiceHost()
    async with serving(host, openai={"max_input_chars": 20}) as addresses:
        assert error_of(await post(addresses, speed=3))["param"] == "speed"
        assert error_of(await post(addresses, input="a" * 21))["code"] == "string_above_max_length"
        assert error_of(await post(addresses, model="large"))["code"] == "model_not_found"
        large = await post(addresses, input="a" * 30_000)
    assert (large.status_code, error_of(large)["code"]) == (413, "message_too_large")
    assert not host.streams


@with_loop
async def test_aac_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The format is refused, with the extra that brings it."""
    monkeypatch.setattr(extra, "load_av", lambda: None)
    host = FakeVoiceHost()
    async with serving(host) as addresses:
        response = await post(addresses, response_format="aac")
    assert (response.status_code, error_of(response)["param"]) == (400, "response_format")
    assert "streamer-speech[av]" in error_of(response)["message"]
    assert not host.streams


@with_loop
async def test_whose_stream_it_is() -> None:
    """The key's, with its limits; without one there is none."""
    host = FakeVoiceHost()
    async with serving(host, access=access_settings()) as addresses:
        assert (await post(addresses)).status_code == 401
        assert (await post(addresses, bearer(ADA))).status_code == 200
    assert [caller.name for caller in host.callers] == ["ada"]


@with_loop
async def test_a_bug_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Its text stays in the log."""
    host = FakeVoiceHost()
    host.error = KeyError("/srv/secret")
    async with serving(host) as addresses:
        response = await post(addresses)
    assert (response.status_code, error_of(response)["code"]) == (500, "server_error")
    assert "secret" not in response.text
    assert config_of(host.streams[0]).task == "synthesize"
