"""Waiting for all that the model can say of what was sent."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from streamer.host import Stream
from streamer.session.messages import Audio, Result
from tests.e2e.serving import serving
from tests.e2e.test_streams import LIVE, audio, expected_text
from tests.gateway.serving import with_loop
from tests.toys.counter import CHUNK

CONFIG = dataclasses.replace(LIVE, mode="file")


async def reading(stream: Stream, texts: list[str]) -> None:
    while (message := await stream.receive()) is not None:
        if isinstance(message, Result):
            texts.append(message.text)


@with_loop
async def test_after_settling_all_whole_chunks_are_told(tmp_path: Path) -> None:
    """Whatever the sizes of the frames are, the text is that of the chunks so far, and it has been read."""
    pcm, at, texts = audio(6), 0, [""]
    async with serving(tmp_path, "in_process") as served:
        stream = served.host.connect()
        await stream.send(CONFIG)
        reader = asyncio.create_task(reading(stream, texts))
        for samples in (1, CHUNK // 2, CHUNK, 3 * CHUNK + 7, 20_000, 32_000, 2, CHUNK):
            await stream.send(Audio(pcm[at : at + samples].tobytes()))
            at += samples
            await stream.settle()
            assert texts[-1] == expected_text(pcm[: at // CHUNK * CHUNK])
        stream.abort()
        await stream.settle()
        reader.cancel()


@with_loop
async def test_a_stream_that_ended_is_settled(tmp_path: Path) -> None:
    """Also when it was never admitted."""
    async with serving(tmp_path, "in_process") as served:
        stream = served.host.connect()
        await stream.settle()
        await stream.send(dataclasses.replace(CONFIG, model="other"))
        await stream.settle()
        assert stream.worker is None
