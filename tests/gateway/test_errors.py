"""Each row of the error table, on both transports."""

from __future__ import annotations

import json

import grpc
import pytest

from streamer.errors import (
    WIRE_CODES,
    BundleError,
    Draining,
    InvalidRequest,
    MessageTooLarge,
    ModelFault,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    SlowReader,
    StreamTimeout,
    Superseded,
    TooFast,
    Unauthenticated,
    UnknownBundle,
)
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import (
    CONFIG_BYTES,
    CONFIG_TEXT,
    failure_of,
    grpc_call,
    serving,
    until_closed,
    websocket,
    with_loop,
)

ROWS = [
    (InvalidRequest("bad rate"), "invalid_request", grpc.StatusCode.INVALID_ARGUMENT, 4400),
    (Unauthenticated("unknown API key"), "unauthenticated", grpc.StatusCode.UNAUTHENTICATED, 4401),
    (PermissionDenied("not yours"), "permission_denied", grpc.StatusCode.PERMISSION_DENIED, 4403),
    (Superseded("resumed elsewhere"), "superseded", grpc.StatusCode.ABORTED, 4409),
    (QuotaExceeded("2 streams", 1.5), "quota_exceeded", grpc.StatusCode.RESOURCE_EXHAUSTED, 4429),
    (UnknownBundle("no such model"), "unknown_model", grpc.StatusCode.NOT_FOUND, 4404),
    (StreamTimeout("idle for 30 s"), "timeout", grpc.StatusCode.DEADLINE_EXCEEDED, 4408),
    (MessageTooLarge("frame too long"), "message_too_large", grpc.StatusCode.OUT_OF_RANGE, 1009),
    (TooFast("11 s ahead"), "too_fast", grpc.StatusCode.RESOURCE_EXHAUSTED, 4429),
    (SlowReader("10 s unread"), "slow_reader", grpc.StatusCode.RESOURCE_EXHAUSTED, 4429),
    (Draining("going down"), "draining", grpc.StatusCode.UNAVAILABLE, 1012),
    (ModelFault("step failed"), "internal", grpc.StatusCode.INTERNAL, 1011),
    (BundleError("hash differs"), "internal", grpc.StatusCode.INTERNAL, 1011),
    (Overloaded("no slot", 1.5), "overloaded", grpc.StatusCode.RESOURCE_EXHAUSTED, 1013),
]
IDS = [type(error).__name__ for error, *_ in ROWS]


def test_every_row_of_the_table_is_here() -> None:
    """A class of errors that is not tried below fails here."""
    assert {type(error) for error, *_ in ROWS} == set(WIRE_CODES)


@pytest.mark.parametrize(("error", "name", "status", "_close"), ROWS, ids=IDS)
@with_loop
async def test_grpc_status(error, name, status, _close):
    """gRPC gets the status of the row, the message as details, and name and retry hint as trailers."""
    host = FakeHost()
    host.error = error
    async with serving(host) as addresses, grpc_call(addresses, CONFIG_BYTES) as call:
        code, details, trailers = await failure_of(call)
    retry = {"retry-after-ms": "1500"} if isinstance(error, Overloaded | QuotaExceeded) else {}
    assert (code, details, trailers) == (status, str(error), {"streamer-error": name, **retry})


@pytest.mark.parametrize(("error", "name", "_status", "close"), ROWS, ids=IDS)
@with_loop
async def test_websocket_error_frame_and_close_code(error, name, _status, close):
    """A WebSocket gets one JSON error, then the close code of the row."""
    host = FakeHost()
    host.error = error
    async with serving(host) as addresses, websocket(addresses, CONFIG_TEXT) as connection:
        frames, code, reason = await until_closed(connection)
    retry = {"retry_after_ms": 1500} if isinstance(error, Overloaded | QuotaExceeded) else {}
    assert [json.loads(frame) for frame in frames] == [{"type": "error", "code": name, "message": str(error), **retry}]
    assert (code, reason) == (close, name)


@with_loop
async def test_a_bug_tells_nothing():
    """An exception that is not ours is internal and keeps its text to itself."""
    host = FakeHost()
    host.error = KeyError("/srv/secret")
    async with serving(host) as addresses:
        async with grpc_call(addresses, CONFIG_BYTES) as call:
            failure = await failure_of(call)
        async with websocket(addresses, CONFIG_TEXT) as connection:
            closed = await until_closed(connection)
    assert failure == (grpc.StatusCode.INTERNAL, "internal error", {"streamer-error": "internal"})
    assert closed == (['{"type":"error","code":"internal","message":"internal error"}'], 1011, "internal")


@with_loop
async def test_a_draining_host_refuses_connections():
    """A stream that cannot even begin fails like any other."""
    host = FakeHost()
    host.draining = True
    async with serving(host) as addresses:
        async with grpc_call(addresses) as call:
            failure = await failure_of(call)
        async with websocket(addresses) as connection:
            closed = await until_closed(connection)
    assert failure == (grpc.StatusCode.UNAVAILABLE, "server is shutting down", {"streamer-error": "draining"})
    assert closed == (
        ['{"type":"error","code":"draining","message":"server is shutting down"}'],
        1012,
        "draining",
    )


@with_loop
async def test_results_before_an_error_are_delivered():
    """What the stream said before it failed reaches the client first."""
    host = FakeHost()
    async with serving(host) as addresses:
        async with grpc_call(addresses, CONFIG_BYTES) as call:
            assert (await call.read()).HasField("ready")
            host.streams[0].end(ModelFault("step failed"))
            assert (await failure_of(call))[0] is grpc.StatusCode.INTERNAL
        async with websocket(addresses, CONFIG_TEXT, b"1234") as connection:
            ready, result = await connection.recv(), await connection.recv()
            host.streams[1].end(ModelFault("step failed"))
            frames, code, _ = await until_closed(connection)
    assert '"type":"ready"' in ready
    assert '"text":"4"' in result
    assert (len(frames), code) == (1, 1011)
