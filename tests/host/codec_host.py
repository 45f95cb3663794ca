"""A host that serves the toy codec, and clients of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from streamer.bundle.loader import load_bundle
from streamer.config import SessionSection, Settings
from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.host import Host, Stream
from streamer.host.assemble import programs_of
from streamer.session.messages import Audio, AudioOut, Config, End, Packets, ServerMessage
from tests.session.codec_driver import cuts, decoding, encoding
from tests.toys.codec import write_codec


@asynccontextmanager
async def hosting(
    folder: Path,
    slots: int = 8,
    clock: Callable[[], float] = time.monotonic,
    write: Callable[[Path], Path] = write_codec,
    **session: Any,
) -> AsyncIterator[Host]:
    bundles = [load_bundle(write(folder))]
    registry = CollectorRegistry()
    engine = Engine(bundles, EngineSettings(workers=1, max_streams=slots), programs_of(bundles), registry=registry)
    host = Host(engine, bundles, Settings(session=SessionSection(**session)), registry, clock)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


async def opened(host: Host, config: Config) -> Stream:
    stream = host.connect()
    await stream.send(config)
    await stream.receive()
    return stream


async def rest(stream: Stream) -> list[ServerMessage]:
    messages = []
    while (message := await stream.receive()) is not None:
        messages.append(message)
    return messages


async def send_all(stream: Stream, data: bytes, size: int = 4000) -> None:
    for part in cuts(data, size):
        await stream.send(Audio(part))
    await stream.send(End())


def data_of(messages: list[ServerMessage]) -> bytes:
    return b"".join(message.data for message in messages if isinstance(message, Packets | AudioOut))


async def encoded(host: Host, audio: np.ndarray, config: Config | None = None) -> bytes:
    stream = await opened(host, config or encoding())
    await send_all(stream, audio.tobytes())
    return data_of(await rest(stream))


async def decoded(host: Host, data: bytes, config: Config | None = None) -> np.ndarray:
    stream = await opened(host, config or decoding())
    await send_all(stream, data, 500)
    return np.frombuffer(data_of(await rest(stream)), np.float32)
