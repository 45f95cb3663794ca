"""Streams of text through the host: many at once, those who leave, those who do not read, and those who only listen."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import InvalidRequest, Overloaded, SlowReader
from streamer.host import Host, Stream
from streamer.session.messages import AudioOut, Cancel, Config, Done, End, Finalize, Finalized, Interrupt, Text
from streamer.tasks.text.numbers import load
from tests.clock import Clock
from tests.gateway.serving import with_loop, with_loop_for
from tests.host.codec_host import data_of, hosting, opened, rest
from tests.session.speech_driver import FILE, LIVE, speaking
from tests.toys.voice import DELAY, FRAME, RATE, prior_of, voice_expected, write_voice

TEXT = "Hello, world. Two zorks cost $3.50, good morning! One more"


@pytest.fixture(scope="module", autouse=True)
def _numbers_can_be_read() -> None:
    """Once per process, which takes seconds: not within the time of a test."""
    load()


@asynccontextmanager
async def speaking_host(folder: Path, **options: Any) -> AsyncIterator[Host]:
    async with hosting(folder, write=write_voice, **options) as host:
        yield host


async def said(host: Host, text: str, config: Config = FILE, size: int = 7) -> bytes:
    stream = await opened(host, config)
    for at in range(0, len(text), size):
        await stream.send(Text(text[at : at + size]))
    await stream.send(End())
    return data_of(await rest(stream))


@with_loop
async def test_many_streams_are_as_alone(tmp_path: Path) -> None:
    """Of every kind at once; the model is listed, and what was said is counted."""
    configs = [FILE, speaking(LIVE, seed=5, lead_s=60.0), speaking(pieces="words"), speaking(speed=0.7)]
    async with speaking_host(tmp_path) as host:
        alone = [await said(host, TEXT, config) for config in configs]
        assert list(await asyncio.gather(*(said(host, TEXT, config) for config in configs))) == alone
        expected = voice_expected([prior_of(["^", "HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", "."])])
        heard = np.frombuffer(await said(host, "Hello, world."), np.float32)
        np.testing.assert_array_equal(heard[:-DELAY], expected[:-DELAY])
        (model,) = host.models()
        assert (model.task, model.sample_rate, model.is_default) == ("synthesize", RATE, True)
        assert model.word_times
        seconds = sum(map(len, [*alone, *alone])) / 4 / RATE
        counted = float(host.metrics_text().decode().split('streamer_audio_seconds_total{mode="file"} ')[1].split()[0])
        assert 0 < counted < seconds


@with_loop
async def test_who_leaves_frees_a_slot(tmp_path: Path) -> None:
    """At once, in the middle of a text, gone or cancelled; who comes next is served as if alone."""
    async with speaking_host(tmp_path, slots=2) as host:
        alone = await said(host, TEXT)
        streams = [await opened(host, LIVE), await opened(host, LIVE)]
        for stream in streams:
            await stream.send(Text(TEXT * 50))
            assert isinstance(await stream.receive(), AudioOut)
        crowded = host.connect()
        await crowded.send(FILE)
        with pytest.raises(Overloaded):
            await crowded.receive()
        streams[0].abort()
        assert await said(host, TEXT) == alone
        await streams[1].send(Cancel())
        last = (await rest(streams[1]))[-1]
        assert isinstance(last, Done)
        assert last.cancelled
        assert await asyncio.gather(said(host, TEXT), said(host, TEXT)) == [alone, alone]


@with_loop
async def test_a_listener_sets_the_pace(tmp_path: Path) -> None:
    """A live stream makes audio some seconds ahead of the clock, and goes on as that does; nobody has to send."""
    clock = Clock()
    async with speaking_host(tmp_path, clock=clock) as host:
        stream = await opened(host, speaking(LIVE, lead_s=1.0))
        await stream.send(Text("hello world " * 40))
        await stream.send(Finalize("a"))
        heard = 0
        while not isinstance(message := await stream.receive(), Finalized):
            if not isinstance(message, AudioOut):
                continue
            heard += len(message.data) // 4
            assert heard / RATE - clock.now <= 1.0 + FRAME / RATE
            if heard / RATE - clock.now > 0.7:
                clock.now += 0.4
        assert message.sample == heard
        assert clock.now > heard / RATE - 2.0
        stream.abort()


@with_loop
async def test_an_interrupt_is_never_held_up(tmp_path: Path) -> None:
    """A live stream that is full of text still takes controls at once."""
    async with speaking_host(tmp_path) as host:
        stream = await opened(host, LIVE)
        for _ in range(60):
            await stream.send(Text("hello world " * 90))
        await stream.send(Interrupt("now"))
        await stream.send(Finalize("then"))
        ids = [message.id for message in await until_finalized(stream) if not isinstance(message, AudioOut | Done)]  # type: ignore[union-attr]
        assert ids == ["now", "then"]
        stream.abort()


async def until_finalized(stream: Stream) -> list[Any]:
    messages: list[Any] = []
    while not (messages and isinstance(messages[-1], Finalized)):
        messages.append(await stream.receive())
    return [message for message in messages if hasattr(message, "id") or isinstance(message, AudioOut)]


@with_loop
async def test_a_reader_sets_the_pace_of_a_file(tmp_path: Path) -> None:
    """A long text is held up, not refused, while nobody reads; nothing of it is lost."""
    text = "hello world " * 12_000
    async with speaking_host(tmp_path) as host:
        stream = await opened(host, FILE)

        async def send() -> None:
            for at in range(0, len(text), 4000):
                await stream.send(Text(text[at : at + 4000]))
            await stream.send(Finalize("end"))

        sending = asyncio.create_task(send())
        while not stream.outbox.is_full:  # noqa: ASYNC110 - nobody is told, which is what is tested
            await asyncio.sleep(0)
        assert not sending.done()
        unread = []
        while (message := stream.outbox.take()) is not None:
            unread.append(message)
        assert 1 << 18 <= len(data_of(unread)) < 1 << 19
        assert not sending.done()
        sending.cancel()
        stream.abort()


@with_loop
async def test_who_never_reads_is_sent_away(tmp_path: Path) -> None:
    """A stream that waits for its reader ends when that takes too long."""
    clock = Clock()
    async with speaking_host(tmp_path, clock=clock, unread_limit_ms=5000) as host:
        stream = await opened(host, LIVE)
        await stream.send(Text(TEXT))
        while not stream.outbox.has_news:  # noqa: ASYNC110 - nobody reads, so nobody is told
            await asyncio.sleep(0)
        clock.now = 6.0
        await host.until_empty()
        with pytest.raises(SlowReader, match=r"^results left unread for 6\.0 s, expected to be read within 5 s$"):
            await rest(stream)


@with_loop
async def test_a_voice_that_there_is_not(tmp_path: Path) -> None:
    """Is refused by name, before there is a slot; so is another language."""
    async with speaking_host(tmp_path, slots=1) as host:
        for config, refusal in (
            (speaking(voice="eve"), "synthesis voice: expected one of ada, got 'eve'"),
            (Config("text", RATE, 1, task="synthesize", language="de"), "model voice speaks en, got language 'de'"),
        ):
            stream = host.connect()
            await stream.send(config)
            with pytest.raises(InvalidRequest) as error:
                await stream.receive()
            assert str(error.value) == refusal
        assert await said(host, "Hello.")


@pytest.mark.soak
@with_loop_for(300)
async def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Of a stream of thirteen minutes of audio, after the first three."""
    async with speaking_host(tmp_path) as host:
        stream = await opened(host, FILE)
        sizes = []
        tracemalloc.start()
        for minutes in (3, 10):
            seconds = 0.0
            while seconds < 60 * minutes:
                await stream.send(Text("Hello, world. Two zorks cost $3.50, good morning! " * 20))
                await stream.send(Finalize())
                seconds += len(data_of(await until_finalized(stream))) / 4 / RATE
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        stream.abort()
    early, late = sizes
    assert late - early < 50_000, sizes
