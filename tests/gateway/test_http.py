"""The HTTP server and its WebSocket, against a fake host."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import InvalidStatus

from streamer.gateway.connections import MAX_MESSAGE_BYTES
from streamer.session.messages import Audio, End, Warning
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import CONFIG, CONFIG_TEXT, gateway_of, get, serving, until_closed, websocket, with_loop


async def talk(stream):
    while True:
        stream.say(Warning("loud", "x"))
        await asyncio.sleep(0)


async def send_forever(connection):
    while True:
        await connection.send(bytes(65536))


@with_loop
async def test_a_stream_from_config_to_done():
    """JSON and binary frames in, JSON out, and the close code is 1000 after done."""
    host = FakeHost()
    sent = (CONFIG_TEXT, b"1234", '{"type":"finalize","id":"a"}', '{"type":"end"}')
    async with serving(host) as addresses, websocket(addresses, *sent) as connection:
        frames, code, reason = await until_closed(connection)
    assert [json.loads(frame)["type"] for frame in frames] == ["ready", "result", "finalized", "done"]
    assert json.loads(frames[1])["end_ms"] == 0.125
    assert (code, reason) == (1000, "")
    assert host.streams[0].got[:2] == [CONFIG, Audio(b"1234")]
    assert host.streams[0].got[-1] == End()


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["streamer.v1"], "streamer.v1"), (["x", "streamer.v1"], "streamer.v1"), (None, None)]
)
@with_loop
async def test_the_subprotocol_is_chosen_if_offered(offered, chosen):
    """The version is agreed on when the client names it, and assumed when it does not."""
    async with serving(FakeHost()) as addresses, websocket(addresses, subprotocols=offered) as connection:
        assert connection.subprotocol == chosen


@with_loop
async def test_compression_is_off():
    """permessage-deflate would cost a buffer and time per stream, for audio that does not shrink."""
    async with serving(FakeHost()) as addresses, websocket(addresses, compression="deflate") as connection:
        assert connection.protocol.extensions == []


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (["hello"], "message: expected JSON, got expecting value at character 0"),
        (["[]"], "message: expected an object, got an array"),
        (
            [CONFIG_TEXT, '{"type":"stop"}'],
            "type: expected one of config, text, finalize, keep_alive, update, interrupt, cancel, end, got 'stop'",
        ),
        ([b"12"], "expected config first, got audio"),
        (["x" * 65537], "message: expected at most 65536 characters, got 65537"),
    ],
)
@with_loop
async def test_junk_is_an_invalid_request(sent, message):
    """Text that does not parse, and binary before config, get one error and free the slot."""
    host = FakeHost()
    async with serving(host) as addresses, websocket(addresses, *sent) as connection:
        frames, code, reason = await until_closed(connection)
        await host.streams[0].aborted.wait()
    assert json.loads(frames[-1]) == {"type": "error", "code": "invalid_request", "message": message}
    assert (code, reason) == (4400, "invalid_request")


@with_loop
async def test_oversized_frames_are_cut_off():
    """Above 1 MiB the connection closes with 1009; up to there the session decides."""
    host = FakeHost()
    async with serving(host) as addresses:
        async with websocket(addresses, CONFIG_TEXT, bytes(MAX_MESSAGE_BYTES)) as connection:
            await connection.recv()
            assert json.loads(await connection.recv())["text"] == str(MAX_MESSAGE_BYTES)
        async with websocket(addresses, CONFIG_TEXT, bytes(MAX_MESSAGE_BYTES + 1)) as connection:
            _, code, _ = await until_closed(connection)
            await host.streams[1].aborted.wait()
    assert code == 1009


@with_loop
async def test_text_that_is_not_utf8_is_cut_off():
    """RFC 6455 8.1: such a connection fails with 1007."""
    host = FakeHost()
    async with serving(host) as addresses, websocket(addresses, CONFIG_TEXT) as connection:
        await connection.recv()
        await connection.send(b"\xff", text=True)
        _, code, _ = await until_closed(connection)
        await host.streams[0].aborted.wait()
    assert code == 1007


@with_loop
async def test_a_client_that_is_cut_off_while_results_leave(capsys):
    """Results that meet the closing connection are dropped without a word in the log."""
    host = FakeHost()
    async with serving(host) as addresses, websocket(addresses, CONFIG_TEXT) as connection:
        await connection.recv()
        talking = asyncio.create_task(talk(host.streams[0]))
        await connection.send(bytes(MAX_MESSAGE_BYTES + 1))
        await host.streams[0].aborted.wait()
        talking.cancel()
    assert "websocket stream failed" not in capsys.readouterr().out


@pytest.mark.parametrize("politely", [True, False])
@pytest.mark.parametrize("blocked", [False, True])
@with_loop
async def test_a_client_that_leaves_frees_its_slot(politely, blocked):
    """The stream is aborted when its client goes, with or without a close frame, even while it waits for room."""
    host = FakeHost()
    async with serving(host) as addresses, websocket(addresses, CONFIG_TEXT) as connection:
        await connection.recv()
        if blocked:
            host.streams[0].room.clear()
            await connection.send(b"12")
        assert not host.streams[0].aborted.is_set()
        if politely:
            await connection.close()
        else:
            connection.transport.abort()
        if blocked:
            host.streams[0].room.set()
        await host.streams[0].aborted.wait()


@with_loop
async def test_a_slow_reader_is_let_go():
    """A client that takes nothing keeps its stream no longer than the limit."""
    host = FakeHost()
    session = {"unread_limit_ms": 50}
    async with serving(host, session=session) as addresses, websocket(addresses, CONFIG_TEXT) as connection:
        await connection.recv()
        host.streams[0].say_much()
        await host.streams[0].aborted.wait()
        connection.transport.abort()


@with_loop
async def test_a_stream_without_room_holds_back_its_client():
    """While the host takes no audio the server reads no more than its buffers hold."""
    host = FakeHost()
    async with serving(host) as addresses, websocket(addresses, CONFIG_TEXT) as connection:
        await connection.recv()
        host.streams[0].room.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_forever(connection), 0.3)
        assert host.streams[0].got == [CONFIG]
        connection.transport.abort()
        host.streams[0].room.set()
        await host.streams[0].aborted.wait()


@with_loop
async def test_other_paths_are_refused():
    """A WebSocket elsewhere fails in the handshake, a page elsewhere is not found."""
    async with serving(FakeHost()) as addresses:
        with pytest.raises(InvalidStatus):
            async with websocket(addresses, path="/other"):
                pass
        assert (await get(addresses, "/other")).status_code == 404


@with_loop
async def test_probes():
    """Liveness is unconditional; readiness follows the host and says why not."""
    host = FakeHost()
    async with serving(host) as addresses:
        health = await get(addresses, "/healthz")
        ready = await get(addresses, "/readyz")
        host.ready = False
        unready = await get(addresses, "/readyz")
        still_healthy = await get(addresses, "/healthz")
    assert (health.status_code, health.text) == (200, "ok\n")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reason": None})
    assert (unready.status_code, unready.json()) == (503, {"ready": False, "reason": "models are not ready"})
    assert still_healthy.status_code == 200


@with_loop
async def test_metrics_are_served():
    """Prometheus gets the host's text with the content type of its format."""
    async with serving(FakeHost()) as addresses:
        response = await get(addresses, "/metrics")
    assert response.text == "streamer_open_streams 0.0\n"
    assert response.headers["content-type"].startswith("text/plain; version=")


@with_loop
async def test_models_are_listed():
    """Every field of a served bundle is told."""
    async with serving(FakeHost()) as addresses:
        response = await get(addresses, "/v1/models")
    assert response.json()["models"] == [
        {
            "name": "echo",
            "version": "1",
            "task": "transcribe",
            "description": "says how many bytes it got",
            "languages": ["en"],
            "sample_rate": 16000,
            "chunk_ms": 160.0,
            "delay_ms": 200.0,
            "is_default": True,
            "voices": [],
            "word_times": False,
        }
    ]


@with_loop
async def test_a_taken_port_is_a_clear_error():
    """Binding fails at once and says where."""
    async with serving(FakeHost()) as addresses:
        with pytest.raises(OSError, match=f"^cannot bind http to 127.0.0.1:{addresses.http_port}: Address already in"):
            await gateway_of(FakeHost(), http_port=addresses.http_port).start()
