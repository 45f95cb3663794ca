"""A Whisper with random weights behind a real host: its streams are long, many, cut anywhere, and none fails."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from prometheus_client import CollectorRegistry  # noqa: E402

from streamer.bundle.loader import load_bundle  # noqa: E402
from streamer.cli.process_stats import memory_mb  # noqa: E402
from streamer.config import Settings  # noqa: E402
from streamer.engine.engine import Engine  # noqa: E402
from streamer.engine.settings import EngineSettings  # noqa: E402
from streamer.errors import InvalidRequest  # noqa: E402
from streamer.host import Host  # noqa: E402
from streamer.host.assemble import programs_of  # noqa: E402
from streamer.session.messages import (  # noqa: E402
    Audio,
    Config,
    Decoding,
    Done,
    End,
    Endpointing,
    Finalize,
    Ready,
    Result,
    ServerMessage,
)
from tests.models.whisper_toys import toy_bundle, toy_dims, toy_model  # noqa: E402

RATE = 16_000
CONFIG = Config("pcm_s16le", RATE, 1, mode="file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose windows are of 2 s."""
    torch.set_num_threads(1)
    return toy_bundle(tmp_path_factory.mktemp("whisper"))


@asynccontextmanager
async def hosting(folder: Path) -> AsyncIterator[Host]:
    bundles = [load_bundle(folder)]
    registry = CollectorRegistry()
    settings = EngineSettings(workers=1, max_streams=4)
    host = Host(Engine(bundles, settings, programs_of(bundles), registry=registry), bundles, Settings(), registry)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def sound(seconds: float, seed: int) -> bytes:
    """Bursts of noise and of tones, with pauses."""
    rng = np.random.default_rng(seed)
    parts, length = [], 0
    while length < seconds * RATE:
        size = int(rng.integers(RATE // 10, RATE))
        tone = np.sin(2 * np.pi * rng.uniform(100, 3000) * np.arange(size) / RATE)
        kind = (np.zeros(size), rng.standard_normal(size), tone)[rng.integers(3)]
        parts.append(kind * rng.uniform(0.01, 0.3))
        length += size
    samples = np.clip(np.concatenate(parts)[: int(seconds * RATE)], -1, 1)
    return (samples * 32767).astype("<i2").tobytes()


async def heard(host: Host, config: Config, audio: bytes, seed: int, finalize_every: int = 0) -> list[ServerMessage]:
    """All that the server says of `audio`, which comes in packets of any length."""
    stream, rng, messages = host.connect(), np.random.default_rng(seed), []

    async def read() -> None:
        while (message := await stream.receive()) is not None:
            messages.append(message)

    reader = asyncio.create_task(read())
    await stream.send(config)
    at, packets = 0, 0
    while at < len(audio):
        size = 2 * int(rng.integers(1, RATE))
        await stream.send(Audio(audio[at : at + size]))
        at, packets = at + size, packets + 1
        if finalize_every and packets % finalize_every == 0:
            await stream.send(Finalize(str(packets)))
    await stream.send(End())
    await reader
    return messages


def finals(messages: list[ServerMessage]) -> list[Result]:
    """The finals of a stream that came to its end."""
    assert isinstance(messages[0], Ready)
    assert isinstance(messages[-1], Done)
    return [message for message in messages if isinstance(message, Result) and message.is_final]


CONFIGS = (
    CONFIG,
    replace(CONFIG, endpointing=Endpointing(enabled=False)),
    replace(CONFIG, decoding=Decoding("beam", 3, n_best=2), language="en"),
    replace(CONFIG, decoding=Decoding("beam", 2), endpointing=Endpointing(max_segment_s=3)),
)


def test_long_streams_do_not_fail(folder: Path) -> None:
    """Forty seconds of greedy and beam streams side by side: each says what it says alone; words have times."""
    audio = [sound(40, seed) for seed in range(len(CONFIGS))]

    async def together() -> list[list[ServerMessage]]:
        async with hosting(folder) as host:
            streams = (heard(host, config, audio[index], index) for index, config in enumerate(CONFIGS))
            return await asyncio.gather(*streams)

    async def alone(index: int) -> list[ServerMessage]:
        async with hosting(folder) as host:
            return await heard(host, CONFIGS[index], audio[index], 100 + index)

    said = [finals(messages) for messages in asyncio.run(together())]
    for index in (1, 3):
        assert [each.text for each in finals(asyncio.run(alone(index)))] == [each.text for each in said[index]]
    for results in said:
        assert [result.segment_id for result in results] == list(range(len(results)))
        times = [time for each in results for word in each.words for time in (word.start_sample, word.end_sample)]
        assert times == sorted(times)
        assert all(0 <= time <= 40 * RATE for time in times)
    assert sum(len(result.text) for results in said for result in results) > 500


def test_streams_may_be_finalized_anywhere(folder: Path) -> None:
    """Finalize after every few packets closes segments, and the stream goes on with new windows."""

    async def run() -> list[ServerMessage]:
        async with hosting(folder) as host:
            return await heard(host, CONFIG, sound(15, 9), 3, finalize_every=3)

    assert finals(asyncio.run(run()))


def test_short_streams_do_not_fail(folder: Path) -> None:
    """A stream of a few samples is shorter than a chunk and ends well."""

    async def run() -> list[list[ServerMessage]]:
        async with hosting(folder) as host:
            return [await heard(host, CONFIG, sound(seconds, 1), 0) for seconds in (0.0001, 0.1, 0.29, 0.62)]

    for messages in asyncio.run(run()):
        finals(messages)


def test_a_language_that_is_not_offered_is_refused(folder: Path) -> None:
    """The manifest offers English, though the model has a token for German too."""

    async def run() -> list[ServerMessage]:
        async with hosting(folder) as host:
            return await heard(host, replace(CONFIG, language="de"), b"", 0)

    with pytest.raises(InvalidRequest, match=r"^model toy-whisper speaks en, got language 'de'$"):
        asyncio.run(run())


@pytest.mark.soak
def test_memory_does_not_grow_with_age(tmp_path: Path) -> None:
    """Windows of 30 s, nobody pauses: after 35 s of stream, 120 s and 20 minutes hold nothing more."""
    folder = toy_bundle(tmp_path, toy_model(toy_dims(1500, 448)))
    config = replace(CONFIG, interim_results=False, endpointing=Endpointing(enabled=False))
    audio = sound(60, 1) * 20

    async def run() -> list[float]:
        held = []
        async with hosting(folder) as host:
            # The first stream touches memory that all later ones use again.
            for seconds in (120, 35, 120, 1200):
                assert finals(await heard(host, config, audio[: 2 * seconds * RATE], 1))
                held.append((memory_mb(os.getpid()) or (0.0, 0.0))[0])
        return held

    held = asyncio.run(run())
    print(f"\nresident MB after streams of 120, 35, 120 and 1200 s: {held}")  # noqa: T201
    assert held[1] > 0
    assert max(held[2:]) - held[1] < 8
