"""The relay between a connection and its stream, without a network."""

from __future__ import annotations

import asyncio

import pytest

from streamer.errors import InvalidRequest, ModelFault, SlowReader
from streamer.gateway.relay import ClientGone, relay
from streamer.session.messages import Audio, Cancel, Done, End, Ready
from tests.gateway.fake_host import FakeStream
from tests.gateway.serving import CONFIG, with_loop


async def messages_of(*items):
    """Yield messages, raise exceptions, call functions, wait for events."""
    for item in items:
        if isinstance(item, Exception):
            raise item
        if isinstance(item, asyncio.Event):
            await item.wait()
        elif callable(item):
            item()
        else:
            yield item


class Writer:
    def __init__(self):
        self.written = []

    async def __call__(self, message):
        self.written.append(message)


@pytest.mark.parametrize("last", [End(), Cancel()])
@with_loop
async def test_relays_until_done(last):
    """Everything said is written, in order, and the stream is let go at the end."""
    stream, write = FakeStream(None), Writer()
    await relay(stream, messages_of(CONFIG, last), write, 1)
    assert [type(message) for message in write.written] == [Ready, Done]
    assert stream.got == [CONFIG, last]
    assert stream.aborted.is_set()


@with_loop
async def test_the_end_of_the_connection_counts_as_end():
    """Messages that just stop are completed with End."""
    stream, write = FakeStream(None), Writer()
    await relay(stream, messages_of(CONFIG), write, 1)
    assert stream.got == [CONFIG, End()]
    assert isinstance(write.written[-1], Done)


@pytest.mark.parametrize("error", [InvalidRequest("junk"), ClientGone()])
@with_loop
async def test_an_error_while_reading_ends_the_stream(error):
    """It is raised, and the stream is aborted."""
    stream = FakeStream(None)
    with pytest.raises(type(error)):
        await relay(stream, messages_of(CONFIG, error), Writer(), 1)
    assert stream.aborted.is_set()


@with_loop
async def test_the_error_of_the_stream_is_raised():
    """Even while the client has more to say."""
    stream = FakeStream(ModelFault("step failed"))
    with pytest.raises(ModelFault, match=r"^step failed$"):
        await relay(stream, messages_of(CONFIG, asyncio.Event()), Writer(), 1)
    assert stream.aborted.is_set()


@with_loop
async def test_a_write_that_takes_too_long_is_a_slow_reader():
    """One result that cannot leave ends the stream."""
    stream, stuck = FakeStream(None), asyncio.Event()
    with pytest.raises(SlowReader, match=r"^a result was not taken within 0\.01 s$"):
        await relay(stream, messages_of(CONFIG, stuck), lambda _: stuck.wait(), 0.01)
    assert stream.aborted.is_set()


@with_loop
async def test_cancellation_frees_the_stream_and_goes_on():
    """CancelledError passes through, with nothing left running."""
    stream, reached, never = FakeStream(None), asyncio.Event(), asyncio.Event()
    incoming = messages_of(CONFIG, Audio(b"12"), reached.set, never)
    running = asyncio.create_task(relay(stream, incoming, Writer(), 1))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stream.aborted.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}
