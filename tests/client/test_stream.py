"""The client against a gateway over a fake host, on both transports."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.server import serve

from streamer.client import connect
from streamer.errors import (
    WIRE_CODES,
    BundleError,
    InvalidRequest,
    MessageTooLarge,
    ModelFault,
    Overloaded,
    QuotaExceeded,
)
from streamer.session.messages import (
    Audio,
    Cancel,
    Config,
    Done,
    End,
    Endpointing,
    Finalize,
    Finalized,
    KeepAlive,
    Ready,
    Result,
    Update,
)
from tests.gateway.fake_host import LIMITS, FakeHost
from tests.gateway.serving import CONFIG, gateway_of, serving, with_loop

both_transports = pytest.mark.parametrize("transport", ["grpc", "websocket"])


def url_of(addresses, transport):
    return getattr(addresses, transport)


@both_transports
@with_loop
async def test_a_stream_from_config_to_done(transport):
    """Ready is there on entry, the rest is iterated, and iterating ends after done."""
    async with serving(FakeHost()) as addresses, connect(url_of(addresses, transport), CONFIG) as stream:
        assert stream.ready == Ready("s1", "echo@1", 16000, 16000, 160.0, 200.0, LIMITS)
        await stream.send(b"1234")
        await stream.finalize("a")
        await stream.end()
        got = [message async for message in stream]
        assert await stream.receive() is None
    assert got == [Result(0, 0, "4", 1, True, True, 0, 2, 1.0), Finalized("a", 2), Done(2, 1)]


@both_transports
@with_loop
async def test_every_message_arrives(transport):
    """Each method sends its message, and the config arrives whole."""
    config = Config("pcm_f32le", 8000, 2, "transcribe", "echo@1", "file", "en", False, Endpointing(max_segment_s=5.0))
    host = FakeHost()
    async with serving(host) as addresses, connect(url_of(addresses, transport), config) as stream:
        await stream.keep_alive()
        await stream.update(Endpointing(enabled=False))
        await stream.send(b"12")
        await stream.finalize()
        await stream.cancel()
        assert [message async for message in stream][-1] == Done(1, 1, cancelled=True)
    sent = [config, KeepAlive(), Update(Endpointing(enabled=False)), Audio(b"12"), Finalize(""), Cancel()]
    assert host.streams[0].got == sent


@with_loop
async def test_grpc_numbers_audio():
    """The position of a frame travels with it."""
    host = FakeHost()
    async with serving(host) as addresses, connect(addresses.grpc, CONFIG) as stream:
        await stream.send(b"12", 0)
        await stream.end()
        assert len([message async for message in stream]) == 2
    assert host.streams[0].got == [CONFIG, Audio(b"12", 0), End()]


@both_transports
@pytest.mark.parametrize("kind", WIRE_CODES)
@with_loop
async def test_refusals_come_back_as_their_class(transport, kind):
    """What the server raises is what `connect` raises, message and retry hint included."""
    host = FakeHost()
    host.error = kind("it happened", 0.25) if kind in (Overloaded, QuotaExceeded) else kind("it happened")
    expected = ModelFault if kind is BundleError else kind
    async with serving(host) as addresses:
        with pytest.raises(expected, match=r"^it happened$") as raised:
            async with connect(url_of(addresses, transport), CONFIG):
                pass
    assert type(raised.value) is expected
    assert getattr(raised.value, "retry_after_s", 0.25) == 0.25


@both_transports
@with_loop
async def test_an_error_in_mid_stream_comes_after_the_results(transport):
    """Iterating gives what was said before, then raises; sending after the end is silent."""
    host = FakeHost()
    async with serving(host) as addresses, connect(url_of(addresses, transport), CONFIG) as stream:
        await stream.send(b"12")
        assert isinstance(await stream.receive(), Result)
        host.streams[0].end(ModelFault("step failed"))
        with pytest.raises(ModelFault, match=r"^step failed$"):
            await stream.receive()
        await stream.send(b"12")
        await stream.end()


@both_transports
@with_loop
async def test_leaving_frees_the_slot(transport):
    """Leaving the context before done hangs up."""
    host = FakeHost()
    async with serving(host) as addresses:
        async with connect(url_of(addresses, transport), CONFIG):
            pass
        await host.streams[0].aborted.wait()


@both_transports
@with_loop
async def test_a_frame_that_no_server_takes_is_too_large(transport):
    """Cut off by the transport itself, it still comes back as MessageTooLarge."""
    async with serving(FakeHost()) as addresses, connect(url_of(addresses, transport), CONFIG) as stream:
        await stream.send(bytes(5 << 20))
        with pytest.raises(MessageTooLarge):
            await stream.receive()


@both_transports
@with_loop
async def test_no_server_is_a_connection_error(transport):
    """A closed port is not the fault of a stream."""
    async with serving(FakeHost()) as addresses:
        pass
    with pytest.raises(ConnectionError):
        async with connect(url_of(addresses, transport), CONFIG):
            pass


@both_transports
@with_loop
async def test_a_server_that_stops_is_noticed(transport):
    """A stream that ends without a word from the server does not end well."""
    gateway = gateway_of(FakeHost())
    addresses = await gateway.start()
    async with connect(url_of(addresses, transport), CONFIG) as stream:
        stopping = asyncio.create_task(gateway.stop())
        with pytest.raises(Exception, match=r"server closed the stream|grpc call failed"):
            await stream.receive()
        await stopping


@both_transports
@with_loop
async def test_an_end_without_done_is_a_connection_error(transport):
    """A server that closes in good order but says no Done has not finished the stream."""
    host = FakeHost()
    async with serving(host) as addresses, connect(url_of(addresses, transport), CONFIG) as stream:
        host.streams[0].end()
        with pytest.raises(ConnectionError, match=r"^server closed the stream (before done|with 1000)$"):
            await stream.receive()


@with_loop
async def test_a_connection_that_breaks_is_a_connection_error():
    """Without a close frame nobody knows what the server meant."""

    async def break_off(connection):
        await connection.recv()
        connection.transport.abort()

    async with serve(break_off, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(ConnectionError, match=r"^connection lost before done$"):
            async with connect(f"ws://127.0.0.1:{port}", CONFIG):
                pass


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:50051", ""])
@with_loop
async def test_other_urls_are_refused(url):
    """The scheme names the transport."""
    with pytest.raises(InvalidRequest, match=r"^url: expected one of grpc://, grpcs://, ws://, wss://, got "):
        async with connect(url, CONFIG):
            pass


@with_loop
async def test_a_websocket_that_is_no_stream_is_a_connection_error():
    """A server that has no such path refuses the handshake."""
    async with serving(FakeHost()) as addresses:
        with pytest.raises(ConnectionError, match=r"^no stream at ws://.*/other: .*403"):
            async with connect(f"{addresses.websocket}/other", CONFIG):
                pass


@with_loop
async def test_a_server_that_does_not_begin_with_ready_is_refused():
    """The first message must be Ready."""
    host = FakeHost()
    host.first_message = Finalized("a", 0)
    async with serving(host) as addresses:
        with pytest.raises(ConnectionError, match=r"^expected ready first, got finalized$"):
            async with connect(addresses.websocket, CONFIG):
                pass
