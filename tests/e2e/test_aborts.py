"""Clients that leave at any moment, by any way, leave nothing behind."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest

from streamer.client import ClientStream
from streamer.errors import InvalidRequest
from tests.e2e.serving import TRANSPORTS, Served, serving
from tests.e2e.test_streams import FILE, LIVE, audio, expected_text, send_all, text_of, transcribe
from tests.gateway.serving import with_loop

AT_ONCE = 8
SAMPLE = 60
FULL = 10_000


async def misbehave(served: Served, random: random.Random) -> None:
    """Open a stream, go some random way with it, and drop it there."""
    async with served.connect(random.choice((LIVE, FILE))) as stream:
        for _ in range(random.randrange(4)):
            await random.choice(ACTS)(stream, random)
        if random.random() < 0.5:
            # Leave while waiting for an answer that may or may not come.
            with suppress(TimeoutError):
                async with asyncio.timeout(random.random() / 50):
                    await stream.receive()


async def speak(stream: ClientStream, random: random.Random) -> None:
    await send_all(stream, audio(random.choice((0.02, 0.11, 0.5)), random.randrange(100)), random.choice((37, 800)))


async def mark(stream: ClientStream, random: random.Random) -> None:
    await stream.finalize(str(random.random()))


async def finish(stream: ClientStream, random: random.Random) -> None:
    await stream.end()


async def cancel(stream: ClientStream, random: random.Random) -> None:
    await stream.cancel()


ACTS = (speak, speak, speak, mark, finish, cancel)


async def abort_storm(folder: Path, transport: str, count: int) -> None:
    """Run `count` misbehaving clients beside a well-behaved one, then look for what they left."""
    seeds = iter(range(count))
    # A slot is free when the server has noticed that its client is gone, which may be after the next one has come.
    async with serving(folder, transport, max_streams=4 * AT_ONCE) as served:
        worker = served.host.workers[0]
        bundle = served.host.models()[0]
        key = f"{bundle.name}@{bundle.version}"
        free = worker.free_slots(key)

        async def one_after_another() -> None:
            for seed in seeds:
                # A client that speaks after its own end is told so.
                with suppress(InvalidRequest, ConnectionError):
                    await misbehave(served, random.Random(seed))

        storm = asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
        while not storm.done():
            pcm = audio(1.0, seed=7)
            assert text_of(await transcribe(served.connect, FILE, pcm)) == expected_text(pcm)
        await storm
        await served.host.until_empty()
        assert worker.free_slots(key) == free
        assert worker.queued == 0
        assert served.host.open_streams == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_aborted_clients_free_their_slots(tmp_path: Path, transport: str) -> None:
    """A seeded sample of the storm: no slot stays leased, and the neighbour's text is untouched."""
    await abort_storm(tmp_path, transport, SAMPLE)


@pytest.mark.soak
@pytest.mark.parametrize("transport", ["grpc", "websocket"])
def test_ten_thousand_aborted_clients_free_their_slots(tmp_path: Path, transport: str) -> None:
    """The full count."""
    asyncio.run(abort_storm(tmp_path, transport, FULL // 2))
