"""How a gateway starts, drains and stops."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from streamer.gateway.server import Addresses
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import (
    CONFIG_BYTES,
    CONFIG_TEXT,
    failure_of,
    gateway_of,
    get,
    grpc_call,
    grpc_channel,
    serving,
    until_closed,
    websocket,
    with_loop,
)


class StuckHost(FakeHost):
    """Its drain lasts until a test lets it go on."""

    def __init__(self):
        super().__init__()
        self.asked_to_drain = asyncio.Event()
        self.go_on = asyncio.Event()

    async def drain(self, deadline_s):
        self.asked_to_drain.set()
        await self.go_on.wait()
        await super().drain(deadline_s)


async def closed_ports(addresses):
    """The ports at which nobody listens any more."""
    closed = set()
    for port in (addresses.grpc_port, addresses.http_port):
        try:
            _, writer = await asyncio.open_connection(addresses.host, port)
            writer.close()
        except ConnectionRefusedError:
            closed.add(port)
    return closed


@with_loop
async def test_drain_ends_open_streams_on_both_transports():
    """Streams that outlive the deadline end with 1012 and UNAVAILABLE, and say draining."""
    host = FakeHost()
    gateway = gateway_of(host, drain_deadline_s=7)
    addresses = await gateway.start()
    async with grpc_call(addresses, CONFIG_BYTES) as call, websocket(addresses, CONFIG_TEXT) as connection:
        await call.read()
        await connection.recv()
        drain = asyncio.create_task(gateway.drain())
        failure = await failure_of(call)
        closed = await until_closed(connection)
        await drain
    message = "server shut down before the stream ended"
    assert failure == (grpc.StatusCode.UNAVAILABLE, message, {"streamer-error": "draining"})
    assert closed == ([f'{{"type":"error","code":"draining","message":"{message}"}}'], 1012, "draining")
    assert host.drained_with == 7


@with_loop
async def test_a_draining_server_is_not_ready_but_keeps_its_streams():
    """Readiness goes first, then the host drains; open streams go on meanwhile."""
    host = StuckHost()
    gateway = gateway_of(host)
    addresses = await gateway.start()
    async with websocket(addresses, CONFIG_TEXT) as connection, grpc_channel(addresses) as channel:
        await connection.recv()
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="streamer.v1.Speech"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        drain = asyncio.create_task(gateway.drain())
        await host.asked_to_drain.wait()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        readyz = await get(addresses, "/readyz")
        await connection.send(b"12")
        assert '"text":"2"' in await connection.recv()
        await connection.send('{"type":"end"}')
        assert (await until_closed(connection))[1] == 1000
        host.go_on.set()
        watch.cancel()
        await drain
    assert (readyz.status_code, readyz.json()) == (503, {"ready": False, "reason": "draining"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@with_loop
async def test_a_signal_drains(number):
    """`run` returns once the host has drained and both ports are closed."""
    host = FakeHost()
    started = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(gateway_of(host, drain_deadline_s=3).run(started.set_result))
    addresses = await started
    os.kill(os.getpid(), number)
    await running
    assert host.drained_with == 3
    assert await closed_ports(addresses) == {addresses.grpc_port, addresses.http_port}


@with_loop
async def test_a_second_signal_stops_at_once():
    """A drain that takes too long for the operator is cut short."""
    host = StuckHost()
    started = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(gateway_of(host).run(started.set_result))
    addresses = await started
    async with websocket(addresses, CONFIG_TEXT) as connection, grpc_call(addresses, CONFIG_BYTES) as call:
        await connection.recv()
        await call.read()
        os.kill(os.getpid(), signal.SIGTERM)
        await host.asked_to_drain.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await running
        assert (await until_closed(connection))[1] == 1012
        assert (await failure_of(call))[0] in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    assert host.drained_with is None
    assert all(stream.aborted.is_set() for stream in host.streams)


@with_loop
async def test_a_failed_start_leaves_no_port_open_and_no_signal_handler():
    """`run` raises when a port is taken; the other one is released."""
    before = signal.getsignal(signal.SIGTERM)
    async with serving(FakeHost()) as addresses:
        with pytest.raises(OSError, match=r"^cannot bind grpc"):
            await gateway_of(FakeHost(), grpc_port=addresses.grpc_port).run()
    assert signal.getsignal(signal.SIGTERM) is before


@with_loop
async def test_a_hundred_aborted_streams_leave_nothing():
    """Connections that come and go leave no stream open and no task running."""
    host = FakeHost()
    async with serving(host) as addresses:
        idle = len(asyncio.all_tasks())
        for _ in range(50):
            async with grpc_call(addresses, CONFIG_BYTES) as call, websocket(addresses, CONFIG_TEXT) as connection:
                await call.read()
                await connection.recv()
                connection.transport.abort()
        for stream in host.streams:
            await stream.aborted.wait()
        while len(asyncio.all_tasks()) > idle:  # noqa: ASYNC110 - nothing tells when grpc has forgotten a call
            await asyncio.sleep(0)
    assert len(host.streams) == 100


@with_loop
async def test_stopping_is_idempotent():
    """Stopping before the start, after a failed one, and twice does nothing."""
    gateway = gateway_of(FakeHost())
    await gateway.stop()
    async with serving(FakeHost()) as addresses:
        failing = gateway_of(FakeHost(), http_port=addresses.http_port)
        with pytest.raises(OSError, match=r"^cannot bind http"):
            await failing.start()
        await failing.stop()
    gateway = gateway_of(FakeHost())
    await gateway.start()
    await gateway.stop()
    await gateway.stop()


def test_addresses_bracket_ipv6():
    """An address is usable as it is printed."""
    addresses = Addresses("::1", 50051, 8080)
    assert (addresses.grpc, addresses.websocket) == ("grpc://[::1]:50051", "ws://[::1]:8080")
