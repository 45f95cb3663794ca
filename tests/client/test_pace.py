"""Playing audio at the speed of a microphone, by a clock that only the test moves."""

from __future__ import annotations

import asyncio

import pytest

from streamer.client import Arrival, Recording, connect, stream_file
from streamer.errors import ModelFault
from streamer.session.messages import Audio, Config, Done, Result
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import CONFIG, serving, with_loop


class Clock:
    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@with_loop
async def test_frames_leave_when_a_microphone_would_have_them():
    """Each frame waits for its last sample; the last one is as long as what is left."""
    host, clock = FakeHost(), Clock()
    pcm = bytes(2 * 1000)
    async with serving(host) as addresses, connect(addresses.grpc, CONFIG) as stream:
        recording = await stream_file(stream, pcm, CONFIG, frame_ms=25, clock=clock, sleep=clock.sleep)
    assert clock.slept == pytest.approx([0.025, 0.025, 0.0125])
    assert [len(sent.data) for sent in host.streams[0].got if isinstance(sent, Audio)] == [800, 800, 400]
    assert recording.sent_samples == [400, 800, 1000]
    assert recording.sent_at == pytest.approx([100.025, 100.05, 100.0625])
    assert recording.arrivals[-1].message == Done(1000, 3)


@with_loop
async def test_twice_the_speed_halves_the_waits():
    """Speed is a factor of real time."""
    clock = Clock()
    async with serving(FakeHost()) as addresses, connect(addresses.websocket, CONFIG) as stream:
        await stream_file(stream, bytes(3200), CONFIG, speed=2.0, clock=clock, sleep=clock.sleep)
    assert sum(clock.slept) == pytest.approx(0.05)


@with_loop
async def test_without_speed_nothing_waits():
    """As fast as the server takes it: back-pressure is the only pace."""
    clock, config = Clock(), Config("pcm_f32le", 8000, 2)
    host = FakeHost()
    async with serving(host) as addresses, connect(addresses.grpc, config) as stream:
        recording = await stream_file(stream, bytes(8 * 8000), config, speed=None, clock=clock, sleep=clock.sleep)
    assert clock.slept == []
    assert len(recording.sent_samples) == 25
    assert recording.sent_samples[-1] == 8000


@with_loop
async def test_the_error_of_the_stream_is_raised():
    """It stops the player too."""
    host, never = FakeHost(), asyncio.Event()
    async with serving(host) as addresses, connect(addresses.grpc, CONFIG) as stream:
        host.streams[0].end(ModelFault("step failed"))
        with pytest.raises(ModelFault, match=r"^step failed$"):
            await stream_file(stream, bytes(3200), CONFIG, sleep=lambda _: never.wait())


def test_lag_counts_from_the_frame_that_held_the_last_sample():
    """A result cannot come before the frame it ends in; later ends count from the last frame."""
    recording = Recording(sent_samples=[400, 800], sent_at=[1.0, 2.0])
    lags = [recording.lag_s(Arrival(Result(0, 0, "", 0, True, True, 0, end, 1.0), 2.5)) for end in (400, 401, 900)]
    assert lags == [1.5, 0.5, 0.5]


def test_only_results_have_a_lag():
    """Other messages do not say what audio they are about."""
    with pytest.raises(TypeError, match=r"^expected a result, got Done$"):
        Recording().lag_s(Arrival(Done(0, 0), 1.0))
