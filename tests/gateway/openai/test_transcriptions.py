"""`POST /v1/audio/transcriptions` over HTTP, against a fake host."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from streamer.errors import ModelFault, Overloaded, StreamerError
from streamer.gateway.server import Addresses
from streamer.session.messages import Audio, Config, End, Result
from tests.gateway.fake_host import FakeHost, FakeStream
from tests.gateway.keyring import ADA, access_settings, bearer
from tests.gateway.serving import serving, with_loop

PATH = "/v1/audio/transcriptions"
RATE = 16_000


def wav(seconds: float = 1.0, channels: int = 1, form: str = "WAV") -> bytes:
    """Silence, but for the first sample of each channel, which tells them apart."""
    samples = np.zeros((round(seconds * RATE), channels), np.float32)
    samples[0] = np.arange(1, channels + 1) / 8
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "PCM_16", format=form)
    return file.getvalue()


async def post(
    addresses: Addresses, data: bytes | None = None, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    url = f"http://{addresses.host}:{addresses.http_port}{PATH}"
    files = {"file": ("a.wav", wav() if data is None else data)}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, data={"model": "echo", **fields}, files=files, headers=headers)


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@with_loop
async def test_a_file_is_a_stream_of_mode_file() -> None:
    """Its samples reach the host as floats, whole; the text of all segments comes back, with what it cost."""
    host = FakeHost()
    async with serving(host) as addresses:
        response = await post(addresses, wav(2.5), language="en-US")
    config, *frames, end = host.streams[0].got
    assert config == Config("pcm_f32le", RATE, 1, model="echo@1", mode="file", language="en", interim_results=False)
    assert end == End()
    assert sum(len(frame.data) for frame in frames if isinstance(frame, Audio)) == 4 * 2.5 * RATE
    assert response.json() == {"text": "65536 65536 28928", "usage": {"type": "duration", "seconds": 5.0}}


@with_loop
async def test_one_channel_of_several() -> None:
    """`channel` picks one; without it they are averaged."""
    host = FakeHost()
    async with serving(host) as addresses:
        for channel in ("0", "1", ""):
            assert (await post(addresses, wav(0.1, channels=2), channel=channel)).status_code == 200
        response = await post(addresses, wav(0.1, channels=2), channel="2")
    firsts = [np.frombuffer(stream.got[1].data, "<f4")[0] for stream in host.streams]  # type: ignore[union-attr]
    assert firsts == [1 / 8, 2 / 8, 1.5 / 8]
    assert error_of(response)["message"] == "channel: expected one of 2 channels, got 2"


@with_loop
async def test_events_come_while_the_stream_goes_on() -> None:
    """Each delta is sent when it is known, and together they are the text."""
    host = FakeHost()
    async with serving(host) as addresses, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{addresses.host}:{addresses.http_port}{PATH}"
        files = {"file": ("a.wav", wav(1.5))}
        async with client.stream("POST", url, data={"model": "echo", "stream": "true"}, files=files) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            events = [event async for event in events_of(response)]
    assert [event.get("delta") for event in events] == ["65536", " 30464", None]
    assert events[-1] == {"type": "transcript.text.done", "text": "65536 30464"}
    assert host.streams[0].got[0].interim_results  # type: ignore[union-attr]


async def events_of(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line:
            yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (Overloaded("no slot", 1.5), 503, "server_error", "overloaded"),
        (ModelFault("step failed"), 500, "server_error", "server_error"),
    ],
)
@with_loop
async def test_a_refused_stream_has_its_status(
    error: StreamerError, status: int, kind: str, code: str, stream: str
) -> None:
    """Also where events were asked for: nothing is answered before the stream is admitted."""
    host = FakeHost()
    host.error = error
    async with serving(host) as addresses:
        response = await post(addresses, stream=stream)
    assert response.status_code == status
    assert error_of(response) == {"message": str(error), "type": kind, "param": None, "code": code}
    expected = ("2", "1500") if status == 503 else (None, None)
    assert (response.headers.get("retry-after"), response.headers.get("retry-after-ms")) == expected
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_a_fault_after_the_first_event_is_an_event() -> None:
    """The status has been sent by then."""
    host = FaultyHost()
    async with serving(host) as addresses:
        response = await post(addresses, stream="true")
    assert response.status_code == 200
    last = json.loads(response.text.strip().rpartition("\n")[2].removeprefix("data: "))
    assert last["error"] == {"message": "step failed", "type": "server_error", "param": None, "code": "server_error"}


class FaultyHost(FakeHost):
    """Its streams fail at the first audio, after they have said something."""

    def connect(self, *args: Any) -> FakeStream:
        stream = super().connect(*args)
        send = stream.send

        async def failing(message: Any) -> None:
            await send(message)
            if isinstance(message, Audio):
                stream.end(ModelFault("step failed"))

        stream.send = failing  # type: ignore[method-assign]
        return stream


class FullHost(FakeHost):
    """Its streams take a config and then have no room for audio."""

    def __init__(self) -> None:
        super().__init__()
        self.full = asyncio.Event()

    def connect(self, *args: Any) -> FakeStream:
        stream = super().connect(*args)
        send = stream.send

        async def waiting(message: Any) -> None:
            if isinstance(message, Audio):
                self.full.set()
                stream.room.clear()
            await send(message)

        stream.send = waiting  # type: ignore[method-assign]
        return stream


HM = Result(0, 0, "hm", 2, True, True, 0, 1, 1.0)


@pytest.mark.parametrize(("stream", "first"), [("false", None), ("true", None), ("true", HM)])
@with_loop
async def test_a_client_that_goes_frees_its_slot(stream: str, first: Result | None) -> None:
    """At once, though the stream would have gone on; also if it is not even admitted yet."""
    host = FullHost()
    host.first_message = first
    async with serving(host) as addresses:
        request = asyncio.create_task(post(addresses, stream=stream))
        await host.full.wait()
        assert not host.streams[0].aborted.is_set()
        request.cancel()
        await host.streams[0].aborted.wait()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not audio", "file: a.wav is not audio that can be decoded: format not recognised"),
        (b"", "file: a.wav is not audio that can be decoded: format not recognised"),
        (wav()[:-2], "file: a.wav is truncated: expected 32000 bytes of audio, got 31998"),
    ],
)
@with_loop
async def test_damaged_files_are_refused(data: bytes, message: str) -> None:
    """Before they take a slot."""
    host = FakeHost()
    async with serving(host) as addresses:
        response = await post(addresses, data)
    assert (response.status_code, error_of(response)["param"]) == (400, "file")
    assert error_of(response)["message"] == message
    assert not host.streams


@with_loop
async def test_damage_further_in_frees_the_slot() -> None:
    """A file that breaks off while it is decoded is no text."""
    host = FakeHost()
    flac = wav(4.0, form="FLAC")
    async with serving(host) as addresses:
        response = await post(addresses, flac[: len(flac) // 2])
    assert (response.status_code, error_of(response)["param"]) == (400, "file")
    assert all(stream.aborted.is_set() for stream in host.streams)


@pytest.mark.parametrize("chunked", [False, True])
@with_loop
async def test_uploads_have_a_limit(chunked: bool) -> None:
    """Of bytes, whether the request tells its length or not."""
    host = FakeHost()
    body = _multipart(bytes(1 << 20))
    content: Any = _in_chunks(body) if chunked else body
    async with serving(host, openai={"max_upload_mb": 1}) as addresses, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{addresses.host}:{addresses.http_port}{PATH}"
        headers = {"content-type": "multipart/form-data; boundary=b"}
        response = await client.post(url, content=content, headers=headers)
    assert response.status_code == 413
    error = error_of(response)
    assert error["code"] == "message_too_large"
    assert error["message"].endswith(f"exceeds the limit of {1 << 20} bytes")
    assert not host.streams


def _multipart(data: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return head + data + b"\r\n--b--\r\n"


async def _in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


@with_loop
async def test_long_audio_is_refused() -> None:
    """A small file may hold hours of silence; what it decodes to counts."""
    host = FakeHost()
    async with serving(host, openai={"max_audio_s": 1.5}) as addresses:
        response = await post(addresses, wav(2.0, form="FLAC"))
    assert (response.status_code, error_of(response)["code"]) == (413, "message_too_large")
    assert error_of(response)["message"] == "a.wav is longer than the limit of 1.5 s"


@with_loop
async def test_an_upload_that_stalls_is_given_up() -> None:
    """Nothing comes any more, so nothing is waited for."""
    async with serving(FakeHost(), session={"idle_timeout_ms": 50}) as addresses:
        reader, writer = await asyncio.open_connection(addresses.host, addresses.http_port)
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n"
            "content-type: multipart/form-data; boundary=b\r\n\r\n--b".encode()
        )
        status = await reader.readline()
        writer.close()
    assert status.startswith(b"HTTP/1.1 408 ")


@with_loop
async def test_uploads_at_a_time_are_limited() -> None:
    """One more is told to come again."""
    async with serving(FakeHost(), openai={"max_uploads": 1}) as addresses:
        _, writer = await asyncio.open_connection(addresses.host, addresses.http_port)
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n"
            "content-type: multipart/form-data; boundary=b\r\n\r\n--b".encode()
        )
        response = await post(addresses)
        while response.status_code == 200:
            response = await post(addresses)
        writer.close()
    assert (response.status_code, error_of(response)["code"]) == (503, "overloaded")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("application/json", b"{}", "expected content-type multipart/form-data, got application/json"),
        ("multipart/form-data", b"", "form: missing boundary in multipart"),
        ("multipart/form-data; boundary=b", b"junk", "form: invalid multipart data"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", "file: expected a file with a name, got nothing"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nx\r\n--b--\r\n',
            "audio: expected text, got a file",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n',
            "form: expected a boundary after the file, got the end of the request",
        ),
        (
            "multipart/form-data; boundary=b; charset=unicode_escape",
            b'--b\r\nContent-Disposition: form-data; name="\\ud800"\r\n\r\nx\r\n--b--\r\n',
            "form: expected charset utf-8, got 'unicode_escape'",
        ),
        (
            "multipart/form-data; boundary=b; charset=undefined",
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n',
            "form: expected charset utf-8, got 'undefined'",
        ),
    ],
)
@with_loop
async def test_other_bodies_are_refused(kind: str, body: bytes, message: str) -> None:
    """With the shape of every error here."""
    async with serving(FakeHost()) as addresses, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{addresses.host}:{addresses.http_port}{PATH}"
        response = await client.post(url, content=body, headers={"content-type": kind})
    assert response.status_code == 400
    assert error_of(response)["message"] == message


@with_loop
async def test_a_bug_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Its text stays in the log."""
    host = FakeHost()
    host.error = KeyError("/srv/secret")
    async with serving(host) as addresses:
        response = await post(addresses)
    assert (response.status_code, error_of(response)["message"]) == (500, "internal error")
    assert "transcription failed" in capsys.readouterr().out


@with_loop
async def test_keys_are_asked_for_before_the_upload() -> None:
    """Who shows none is told so with the code that these clients know."""
    async with serving(FakeHost(), access=access_settings()) as addresses:
        refused, served = await post(addresses), await post(addresses, headers=bearer(ADA))
    assert (refused.status_code, error_of(refused)["code"]) == (401, "invalid_api_key")
    assert served.status_code == 200
