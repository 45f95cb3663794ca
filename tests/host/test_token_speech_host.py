"""Streams of a voice of tokens through the host: many at once, and those who leave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import InvalidRequest, Overloaded
from streamer.session.messages import AudioOut, Cancel, Done, End, Interrupt, Interrupted, Text
from streamer.tasks.text.numbers import load
from tests.clock import Clock
from tests.gateway.serving import with_loop
from tests.host.codec_host import data_of, hosting, opened, rest
from tests.host.test_speech_host import said
from tests.session.speech_driver import FILE, LIVE, speaking
from tests.toys.token_voice import token_voice_expected, write_token_voice
from tests.toys.voice import RATE

TEXT = "Hello, world. Two zorks cost $3.50, good morning! One more"
HELLO = ("^", "HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", ".")


@pytest.fixture(scope="module", autouse=True)
def _numbers_can_be_read() -> None:
    """Once per process: not within the time of a test."""
    load()


@with_loop
async def test_many_streams_are_as_alone(tmp_path: Path) -> None:
    """Of every kind at once; the model is listed, and what it cannot do is refused before there is a slot."""
    configs = [FILE, speaking(LIVE, seed=5, lead_s=60.0), speaking(pieces="words"), speaking(temperature=0.0)]
    async with hosting(tmp_path, write=write_token_voice) as host:
        alone = [await said(host, TEXT, config) for config in configs]
        assert len({*alone}) == 4
        assert list(await asyncio.gather(*(said(host, TEXT, config) for config in configs))) == alone
        heard = np.frombuffer(await said(host, "Hello, world."), np.float32)
        np.testing.assert_array_equal(heard, token_voice_expected([HELLO]))
        (model,) = host.models()
        assert (model.task, model.sample_rate, model.is_default) == ("synthesize", RATE, True)
        assert not model.word_times
        stream = host.connect()
        await stream.send(speaking(speed=2.0))
        with pytest.raises(InvalidRequest, match=r"^synthesis speed: model voice has no other than 1, got 2$"):
            await stream.receive()


@with_loop
async def test_who_leaves_frees_a_slot(tmp_path: Path) -> None:
    """At once, in the middle of a text, gone or cancelled; who comes next is served as if alone."""
    async with hosting(tmp_path, slots=2, clock=Clock(), write=write_token_voice) as host:
        alone = await said(host, TEXT)
        streams = [await opened(host, LIVE), await opened(host, speaking(LIVE, pieces="words"))]
        for stream in streams:
            await stream.send(Text("one two three good morning hello world " * 50))
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
async def test_after_an_interrupt_a_text_is_as_in_a_new_stream(tmp_path: Path) -> None:
    """Whatever was out when it came."""
    async with hosting(tmp_path, write=write_token_voice) as host:
        stream = await opened(host, speaking(LIVE, pieces="words", lead_s=60.0))
        await stream.send(Text("one two three good morning hello world " * 50))
        assert isinstance(await stream.receive(), AudioOut)
        await stream.send(Interrupt("now"))
        while not isinstance(await stream.receive(), Interrupted):
            pass
        await stream.send(Text("Hello, world."))
        await stream.send(End())
        heard = np.frombuffer(data_of(await rest(stream)), np.float32)
        np.testing.assert_array_equal(heard, token_voice_expected([HELLO], in_blocks=True))
