"""Decompression bombs: files of some kilobytes that decode to hours, at every door that lets compressed audio in."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import httpx
import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed

from streamer.audio.files import open_upload
from streamer.errors import MessageTooLarge
from streamer.gateway.riva import messages as riva
from tests.audio.compressed import OPUS_SILENCE, opus_pages, page, silent_flac
from tests.e2e.serving import Served, serving
from tests.gateway.serving import with_loop, with_loop_for

HOUR_S = 3600
# Seconds of one block of flac and of one page of Opus below.
BLOCK_S, PAGE_S = 65535 / 8000, 30.6
MIB = 1 << 20


@functools.cache
def flac_bomb(seconds: float) -> bytes:
    """Silence of a length that its header does not tell."""
    return silent_flac(round(seconds / BLOCK_S))


@functools.cache
def opus_bomb(seconds: float) -> bytes:
    """Silence in packets of two bytes; the last page says that it is the last one, as an upload must."""
    pages = round(seconds / PAGE_S)
    last = page([OPUS_SILENCE], pages + 2, round((pages * PAGE_S + 0.12) * 48000), flags=4)
    return b"".join([*opus_pages([255] * pages), last])


async def openai(served: Served, bomb: bytes) -> tuple[int, str]:
    files, fields = {"file": ("bomb", bomb)}, {"model": "counter-asr"}
    async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
        answer = await client.post(f"{_http(served)}/v1/audio/transcriptions", files=files, data=fields)
    return answer.status_code, answer.text


async def deepgram(served: Served, bomb: bytes) -> tuple[int, str]:
    async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
        answer = await client.post(f"{_http(served)}/v1/listen", content=bomb)
    return answer.status_code, answer.text


async def riva_batch(served: Served, bomb: bytes) -> tuple[int, str]:
    request = riva.RecognizeRequest(config={"language_code": "en-US"}, audio=bomb).SerializeToString()
    target = f"{served.addresses.host}:{served.addresses.grpc_port}"
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary("/nvidia.riva.asr.RivaSpeechRecognition/Recognize")(request)
        # The numbers of HTTP, for a table of one kind.
        status = {grpc.StatusCode.OUT_OF_RANGE: 413, grpc.StatusCode.OK: 200}.get(await call.code(), 500)
        return status, await call.details() or ""


async def live(served: Served, bomb: bytes, mode: str) -> tuple[int, str]:
    is_flac = bomb[:4] == b"fLaC"
    config = {"type": "config", "encoding": "flac" if is_flac else "ogg_opus", "channels": 1, "mode": mode}
    config["sample_rate"] = 8000 if is_flac else 48000
    said = ""
    async with connect_websocket(f"{served.addresses.websocket}/v1/stream", proxy=None) as connection:
        try:
            await connection.send(json.dumps(config))
            for start in range(0, len(bomb), 65536):
                await connection.send(bomb[start : start + 65536])
            await connection.send('{"type":"end"}')
            while True:
                said = str(await connection.recv())
        except ConnectionClosed:
            codes = {1009: 413, 4429: 429, 1000: 200}
            return codes.get(connection.close_code or 0, 500), said


def _http(served: Served) -> str:
    return f"http://{served.addresses.host}:{served.addresses.http_port}"


Door = Callable[[Served, bytes], Awaitable[tuple[int, str]]]
DOORS: dict[str, Door] = {
    "openai": openai,
    "deepgram": deepgram,
    "riva": riva_batch,
    "live": functools.partial(live, mode="live"),
    "file": functools.partial(live, mode="file"),
}
BOMBS = {"flac": flac_bomb, "opus": opus_bomb}
every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
every_bomb = pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)


@every_bomb
@every_door
@with_loop
async def test_bombs_are_refused(tmp_path: Path, door: Door, bomb: Callable[[float], bytes]) -> None:
    """As too large or too fast, within the limit of length; the slot is free and the next stream is served."""
    limits = {"openai": {"max_audio_s": 20.0}, "deepgram": {"max_audio_s": 20.0}}
    async with serving(tmp_path, "websocket", max_streams=1, **limits) as served:
        for _ in range(2):
            status, text = await door(served, bomb(120.0))
            assert status in (413, 429), text
        await served.host.until_empty()
        assert served.host.workers[0].used_slots("counter-asr@1.0.0") == 0


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def peak_during(work: Awaitable[tuple[int, str]]) -> tuple[tuple[int, str], int]:
    """The result of `work`, and by how many bytes this process grew at most."""
    before = top = resident()
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait((task,), timeout=0.005)
        top = max(top, resident())
    return task.result(), top - before


@pytest.mark.soak
@every_bomb
@every_door
def test_ten_hours_of_silence(tmp_path: Path, door: Door, bomb: Callable[[float], bytes]) -> None:
    """With a limit of ten minutes: refused, and memory grows by less than 100 MiB; prints how far and how long."""
    data = bomb(10 * HOUR_S)

    @with_loop_for(600)
    async def run() -> None:
        limits = {"openai": {"max_audio_s": 600.0}, "deepgram": {"max_audio_s": 600.0}}
        async with serving(tmp_path, "websocket", max_streams=2, **limits) as served:
            await door(served, bomb(40.0))
            began = time.monotonic()
            (status, text), grown = await peak_during(door(served, data))
            took = time.monotonic() - began
        names = {value: key for key, value in (*DOORS.items(), *BOMBS.items())}
        what = f"{names[door]:9} {names[bomb]} {len(data) / 1000:.0f} kB"
        print(f"{what}: {status} after {took:.2f} s, at most {grown / MIB:.1f} MiB more: {text[-110:]}")  # noqa: T201
        assert status in (413, 429), text
        assert grown < 100 * MIB

    run()


@pytest.mark.soak
@every_bomb
def test_ten_hours_decoded(bomb: Callable[[float], bytes]) -> None:
    """What the decoder alone makes of them with the limit that ships, four hours; prints time and memory."""
    data, before, top, n_samples = bomb(10 * HOUR_S), resident(), 0, 0
    began = time.process_time()
    with contextlib.suppress(MessageTooLarge), open_upload(data) as audio:
        for block in audio.blocks():
            n_samples, top = n_samples + len(block), max(top, resident())
        raise AssertionError("was decoded to its end")
    took, grown = time.process_time() - began, max(0, top - before) / MIB
    print(f"{len(data) / 1000:.0f} kB: {n_samples} samples in {took:.2f} s, at most {grown:.1f} MiB more")  # noqa: T201
    assert grown < 100
