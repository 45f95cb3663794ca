"""The exchanges of vosk's own clients, of Jigasi and of Asterisk against the shipped recogniser.

Their programs are scripts, Java and C, not packages: what they send and wait for is repeated here, frame for frame.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from websockets.asyncio.client import ClientConnection

from streamer.gateway.server import Addresses
from tests.e2e.recognised import RATE, SAMPLES, SHIPPED, clip, serving_recogniser, texts_of
from tests.gateway.serving import until_closed, websocket, with_loop

NAMES = [path.stem for path in SAMPLES]
EOF = '{"eof" : 1}'


def pieces(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[start : start + size] for start in range(0, len(pcm), size)]


async def exchange(addresses: Addresses, pcm: bytes, config: str, frame: int) -> list[dict[str, Any]]:
    """Send a frame, wait for its reply, and so on: the test scripts of vosk-server."""
    replies = []
    async with websocket(addresses, config, path="") as connection:
        for data in pieces(pcm, frame):
            await connection.send(data)
            replies.append(json.loads(await connection.recv()))
        await connection.send(EOF)
        replies.append(json.loads(await connection.recv()))
        assert await until_closed(connection) == ([], 1000, "")
    return replies


def text_of(replies: list[dict[str, Any]]) -> str:
    return " ".join(reply["text"] for reply in replies if reply.get("text"))


@with_loop
async def test_frame_and_reply_in_turn(batch_texts: dict[str, str]) -> None:
    """The texts are the batch text, the words are those of the text, and partials come while audio comes."""
    config = '{ "config" : { "sample_rate" : 16000 } }'
    async with serving_recogniser() as (_, addresses):
        for name in NAMES:
            pcm = clip(name)
            replies = await exchange(addresses, pcm, config, int(RATE * 0.2) * 2)
            text = text_of(replies)
            assert text == batch_texts[name]
            assert len(replies) == len(pieces(pcm, int(RATE * 0.2) * 2)) + 1
            words = [word for reply in replies for word in reply.get("result", [])]
            assert " ".join(word["word"] for word in words) == text
            assert all(0 <= word["start"] <= word["end"] <= len(pcm) / 2 / RATE for word in words)
            partials = {reply["partial"] for reply in replies if "partial" in reply}
            assert len(partials) > 5


@with_loop
async def test_replies_depend_on_nothing_but_the_audio() -> None:
    """Two clients at once are answered the same to every frame as one alone."""
    config = '{"config" : {"words" : 0, "sample_rate" : 16000.0}}'
    pcm = clip("honey")
    async with serving_recogniser() as (_, addresses):
        alone = await exchange(addresses, pcm, config, 8000)
        both = await asyncio.gather(*(exchange(addresses, pcm, config, 8000) for _ in range(2)))
    assert both == [alone, alone]
    assert not any("result" in reply for reply in alone)


@with_loop
async def test_alternatives() -> None:
    """As many texts as a beam can hold at most, the best one first."""
    config = '{"config" : { "max_alternatives" : 20, "sample_rate" : 16000 } }'
    async with serving_recogniser() as (_, addresses):
        replies = await exchange(addresses, clip("river"), config, int(RATE * 0.2) * 2)
    told = [reply["alternatives"] for reply in replies if "alternatives" in reply]
    assert max(map(len, told)) > 1
    for alternatives in told:
        texts = [alternative["text"] for alternative in alternatives]
        assert len(set(texts)) == len(texts) <= 16
        assert " ".join(word["word"] for word in alternatives[0].get("result", [])) == texts[0]


@with_loop
async def test_jigasi(batch_texts: dict[str, str]) -> None:
    """It declares its rate as a float, sends on without waiting, and reads what comes until the server closes."""
    pcm = clip("ferry")
    config, frames = '{"config" : {"sample_rate" : 16000.0 }}', pieces(pcm, 640)
    async with serving_recogniser() as (_, addresses), websocket(addresses, config, path="") as connection:
        sending = asyncio.create_task(send_all(connection, [*frames, EOF]))
        replies, code, _ = await until_closed(connection)
        await sending
    assert code == 1000
    assert len(replies) == len(frames) + 1
    assert text_of(list(map(json.loads, replies))) == batch_texts["ferry"]


async def send_all(connection: ClientConnection, frames: list[str | bytes]) -> None:
    for frame in frames:
        await connection.send(frame)


async def replies_so_far(connection: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    while True:
        yield json.loads(await connection.recv())


@with_loop
async def test_asterisk(tmp_path: Path) -> None:
    """It declares nothing, so its rate is a setting; it takes any text, says eof, and hangs up at once."""
    slow = np.frombuffer(clip("ferry"), "<i2")[::2]
    file = tmp_path / "telephone.wav"
    soundfile.write(file, slow, 8000)
    frames = pieces(slow.tobytes(), 3200)
    frames = [frame for frame in frames if len(frame) == 3200]
    async with serving_recogniser(vosk_sample_rate=8000) as (host, addresses):
        async with websocket(addresses, path="") as connection:
            sending = asyncio.create_task(send_all(connection, frames))
            async for reply in replies_so_far(connection):
                if reply.get("partial") or reply.get("text"):
                    break
            await sending
            await connection.send(EOF)
        await host.until_empty()
        replies = await exchange(addresses, slow.tobytes(), '{"config": {}}', 3200)
    assert text_of(replies) == (await texts_of(file))["telephone"]


@with_loop
async def test_what_the_recogniser_cannot_serve_is_refused() -> None:
    """In the place of the reply to the first frame."""
    cases = {
        '{"config": {"sample_rate": 16000, "model": "/models/en"}}': (
            {"error": "unknown model '/models/en', expected one of asr-en@0.2.0", "code": "unknown_model"},
            4404,
        ),
        '{"config": {"sample_rate": 4000}}': (
            {"error": "expected an integer sample rate from 8000 to 48000 Hz, got 4000", "code": "invalid_request"},
            4400,
        ),
    }
    async with serving_recogniser(models=SHIPPED) as (host, addresses):
        for config, (told, expected) in cases.items():
            async with websocket(addresses, config, b"12", path="/vosk") as connection:
                frames, code, _ = await until_closed(connection)
            assert (json.loads(frames[-1]), code) == (told, expected)
        await host.until_empty()


@with_loop
async def test_a_caller_that_hangs_up_frees_its_slot() -> None:
    """In the middle of a word."""
    async with serving_recogniser(vosk_sample_rate=RATE) as (host, addresses):
        async with websocket(addresses, *pieces(clip("honey"), 3200)[:10], path="/vosk") as connection:
            await connection.recv()
            assert host.open_streams == 1
            connection.transport.abort()
        await host.until_empty()
