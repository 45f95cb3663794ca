"""Files of Deepgram's clients over a fake host: what is answered, what is refused, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from streamer.errors import InvalidRequest, ModelFault, Overloaded, StreamerError
from streamer.gateway.deepgram.answers import answer
from streamer.gateway.deepgram.described import RequestInfo, error_response
from streamer.gateway.deepgram.request import read_file
from streamer.host.callers import ANONYMOUS, Caller
from streamer.session.messages import Audio, Config
from streamer.transcripts.transcript import Segment, Transcript, Word
from tests.gateway.deepgram.asking import LINEAR, PATH, ListeningHost, services
from tests.gateway.fake_host import FakeHost, FakeModelInfo, FakeStream
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.serving import serving, with_loop

MULAW = "encoding=mulaw&sample_rate=8000"


def wav(channels: int = 1, samples: int = 1600, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    data = np.repeat(np.arange(samples, dtype="int16")[:, None], channels, axis=1) * np.arange(1, channels + 1)
    soundfile.write(file, data.astype("int16"), rate, format="WAV")
    return file.getvalue()


@asynccontextmanager
async def posting(host: FakeHost, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(host, **settings) as addresses:
        base = f"http://{addresses.host}:{addresses.http_port}"
        async with httpx.AsyncClient(trust_env=False, base_url=base) as client:
            yield client


async def answered(host: FakeHost, body: Any, query: str = "", **options: Any) -> httpx.Response:
    settings = options.pop("settings", {})
    async with posting(host, **settings) as client:
        return await client.post(f"{PATH}?{query}", content=body, **options)


def texts(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [channel["alternatives"][0]["transcript"] for channel in answer.json()["results"]["channels"]]


@pytest.mark.parametrize("kind", ["audio/wav", "application/octet-stream", None])
@with_loop
async def test_a_file(kind: str | None) -> None:
    """Its text, and what it was, whatever the content type is."""
    host = ListeningHost()
    headers = {"content-type": kind} if kind else {}
    response = await answered(host, wav(), headers=headers)
    assert texts(response) == ["6400"]
    metadata = response.json()["metadata"]
    assert metadata["sha256"] == hashlib.sha256(wav()).hexdigest()
    # The fake host takes two of the four bytes of a sample for one.
    assert (metadata["duration"], metadata["channels"]) == (2 * 0.2, 1)
    assert response.headers["dg-request-id"] == metadata["request_id"]
    expected = Config("pcm_f32le", 8000, 1, model="echo@1", mode="file", interim_results=False)
    assert host.streams[0].got[0] == expected
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_channels_one_by_one() -> None:
    """Each is a stream of its own, one after the other; otherwise they are averaged."""
    host = ListeningHost()
    response = await answered(host, wav(channels=3), "multichannel=true&utterances=true")
    assert texts(response) == ["6400"] * 3
    assert response.json()["metadata"]["channels"] == 3
    assert [utterance["channel"] for utterance in response.json()["results"]["utterances"]] == [0, 1, 2]
    await answered(host, wav(channels=3))
    heard = [
        np.frombuffer(b"".join(message.data for message in stream.got if isinstance(message, Audio)), "<f4") * 32768
        for stream in host.streams
    ]
    for samples, factor in zip(heard, (1, 2, 3, 2), strict=True):
        np.testing.assert_allclose(samples, np.arange(1600) * factor, atol=1e-3)


@with_loop
async def test_raw_samples_that_are_declared() -> None:
    """They are passed on as they are, without the header of a wav file that says the same."""
    host = ListeningHost()
    pcm = wav()[44:]
    for body in (pcm, wav()):
        assert texts(await answered(host, body, "encoding=linear16&sample_rate=8000")) == ["3200"]
    assert texts(await answered(host, bytes(1000), MULAW)) == ["1000"]
    for stream, data, encoding in zip(host.streams, (pcm, pcm, bytes(1000)), ("s16le", "s16le", "mulaw"), strict=True):
        config, *sent = stream.got
        assert isinstance(config, Config)
        assert (config.encoding, config.sample_rate) == (f"pcm_{encoding}", 8000)
        assert b"".join(message.data for message in sent if isinstance(message, Audio)) == data


REFUSED: dict[str, tuple[bytes, str, dict[str, str], int, str]] = {
    "url": (b'{"url": "http://there.example/a.wav"}', "", {"content-type": "application/json"}, 400,
            "url: is not supported, no address is ever fetched from here; send the audio itself"),
    "form": (b"--x", "", {"content-type": "multipart/form-data; boundary=x"}, 400,
             "expected the audio itself as the body, got multipart/form-data"),
    "parameter": (wav(), "punctuate=true", {}, 400, "punctuate: is not supported, no model here does that"),
    "model": (wav(), "model=x", {}, 404, "unknown model 'x', expected one of echo"),
    "no audio": (b"x" * 1000, "", {}, 400, "upload is not audio "),
    "empty": (b"", "", {}, 400, "upload is not audio "),
    "empty raw": (b"", MULAW, {}, 400, "expected audio, got nothing"),
    "half a sample": (b"1" * 999, LINEAR, {}, 400, "audio ends in the middle of a sample"),
    "another rate": (wav(), LINEAR, {}, 400, "wav header: expected 16000 Hz as in the config, got 8000 Hz"),
    "large": (bytes(2 << 20), MULAW, {}, 413, "upload of 2097152 bytes exceeds the limit of 1048576 bytes"),
    "long": (bytes(90_000), MULAW, {}, 413, "audio is longer than the limit of 10 s"),
    "long file": (wav(samples=90_000), "", {}, 413, "upload is longer than the limit of 10 s"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@with_loop
async def test_what_cannot_be_served(name: str) -> None:
    """Named, in the shape that Deepgram's clients read; no slot is kept."""
    body, query, headers, status, message = REFUSED[name]
    host = ListeningHost()
    settings = {"deepgram": {"max_upload_mb": 1, "max_audio_s": 10}}
    response = await answered(host, body, query, headers=headers, settings=settings)
    told = response.json()
    assert (response.status_code, told["err_msg"][: len(message)]) == (status, message)
    assert response.headers["dg-request-id"] == told["request_id"]
    assert all(stream.aborted.is_set() for stream in host.streams)


@pytest.mark.parametrize(
    ("error", "status"),
    [(InvalidRequest("no"), 400), (Overloaded("full", 3.0), 503), (ModelFault("broken"), 500), (ValueError("x"), 500)],
)
@with_loop
async def test_a_stream_that_fails(error: Exception, status: int) -> None:
    """The request fails as it does, with a hint when to try again if there is one."""
    host = ListeningHost()
    host.error = error
    response = await answered(host, wav())
    message = str(error) if isinstance(error, StreamerError) else "internal error"
    assert (response.status_code, response.json()["err_msg"]) == (status, message)
    assert response.headers.get("retry-after") == ("3" if status == 503 else None)
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_uploads_are_counted() -> None:
    """One too many is told to come again; the one before it goes on."""
    host = ListeningHost()
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield wav()[:100]
        began.set()
        await go_on.wait()
        yield wav()[100:]

    async with posting(host, deepgram={"max_uploads": 1}) as client:
        first = asyncio.create_task(client.post(PATH, content=slowly()))
        await began.wait()
        while (second := await client.post(PATH, content=wav())).status_code == 200:
            pass
        go_on.set()
        assert texts(await first) == ["6400"]
        assert texts(await client.post(PATH, content=wav())) == ["6400"]
    assert (second.status_code, second.headers["retry-after"]) == (503, "1")
    assert second.json()["err_msg"] == "1 uploads are being received, which is the limit"


@with_loop
async def test_a_client_that_goes_frees_its_slot() -> None:
    """While its file is recognised, which would never end."""

    class Busy(ListeningHost):
        def connect(self, caller: Caller = ANONYMOUS) -> FakeStream:
            stream = super().connect(caller)
            stream.room.clear()
            return stream

    host = Busy()
    async with posting(host) as client:
        request = asyncio.create_task(client.post(PATH, content=wav()))
        await host.connected.wait()
        request.cancel()
        await host.streams[0].aborted.wait()


@with_loop
async def test_keys() -> None:
    """With the scheme that Deepgram's clients write."""
    host = ListeningHost()
    settings = {"access": access_settings()}
    assert texts(await answered(host, wav(), headers={"authorization": f"Token {ADA}"}, settings=settings)) == ["6400"]
    refused = await answered(host, wav(), headers={"authorization": "Token streamer_guess"}, settings=settings)
    assert (refused.status_code, refused.json()["err_code"]) == (401, "INVALID_AUTH")
    assert [caller.name for caller in host.callers] == ["ada"]


def test_the_answer() -> None:
    """Confidences of words make that of the text; utterances of all channels are in the order of time."""
    one = Segment(1.0, 2.0, "a b", 0.5, True, (Word("a", 1.0, 1.5, 0.25), Word("b", 1.5, 2.0, 0.75)))
    two = Segment(0.5, 0.75, "c", 0.9, True, (Word("c", 0.5, 0.75, 0.9),))
    three = Segment(3.0, 3.5, "d", 0.5, False, (Word("d", 3.0, 3.5, 0.2),))
    channels = [Transcript("upload", 4.0, "echo@1", (one, three)), Transcript("upload", 4.0, "echo@1", (two,))]
    info = RequestInfo(FakeModelInfo(), "r1")  # type: ignore[arg-type]
    told = answer(channels, read_file([("utterances", "true")], services()), info, "ab12")
    left, right = (channel["alternatives"][0] for channel in told["results"]["channels"])
    assert (left["transcript"], left["confidence"]) == ("a b d", 0.4)
    assert [word["word"] for word in left["words"]] == ["a", "b", "d"]
    assert right["words"] == [{"word": "c", "start": 0.5, "end": 0.75, "confidence": 0.9}]
    utterances = told["results"]["utterances"]
    assert [(each["transcript"], each["channel"], each["start"], each["end"]) for each in utterances] == [
        ("c", 1, 0.5, 0.75),
        ("a b", 0, 1.0, 2.0),
        ("d", 0, 3.0, 3.5),
    ]
    assert len({each["id"] for each in utterances}) == 3
    silent = answer([Transcript("upload", 4.0, "echo@1", ())], read_file([], services()), info, "ab12")
    assert silent["results"] == {"channels": [{"alternatives": [{"transcript": "", "confidence": 0.0, "words": []}]}]}


def test_errors_fit_into_a_header() -> None:
    """Whatever a client has sent that is repeated in them."""
    response = error_response(InvalidRequest("a\r\nset-cookie: b\x00\x1f, \u00fc \u2028"), "r1")
    assert response.headers["dg-error"] == "a  set-cookie: b  , \\xfc \\u2028"
