"""What the gRPC transport makes of a call that the server ends while the client is writing."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from streamer.client import grpc as over_grpc
from streamer.errors import ModelFault

REAL = (grpc.StatusCode.INTERNAL, "step failed", grpc.aio.Metadata(("streamer-error", "internal")))


class Call:
    """A call whose own status stands until the server's has been asked for `late` times."""

    def __init__(self, late: int) -> None:
        self._late = late

    async def read(self) -> None:
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "Internal error from Core", None)

    async def details(self) -> str:
        self._late -= 1
        return REAL[1] if self._late < 0 else "Internal error from Core"

    async def code(self) -> grpc.StatusCode:
        return REAL[0]

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return REAL[2] if self._late < 0 else grpc.aio.Metadata()


def transport_over(call: Call) -> over_grpc.GrpcTransport:
    transport = object.__new__(over_grpc.GrpcTransport)
    transport._call = call
    return transport


@pytest.mark.parametrize("late", [0, 2])
def test_the_status_of_the_server_is_told_once_it_is_there(monkeypatch: pytest.MonkeyPatch, late: int) -> None:
    """Its error reaches the caller, not what the library made up meanwhile."""
    monkeypatch.setattr(over_grpc, "_STATUS_POLL_S", 0.0)
    with pytest.raises(ModelFault, match="^step failed$"):
        asyncio.run(transport_over(Call(late)).read())


def test_a_call_without_an_answer_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who never hears from the server is told so, after a while."""
    monkeypatch.setattr(over_grpc, "_STATUS_POLL_S", 0.0)
    with pytest.raises(ConnectionError, match="Internal error from Core$"):
        asyncio.run(transport_over(Call(10**6)).read())
