"""What the gRPC transport makes of a call that the server ends while the client is writing."""

from __future__ import annotations

import pytest

from streamer.client import ClientStream, connect
from streamer.errors import ModelFault
from streamer.session.messages import Config, Done, Result, ServerMessage
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import serving, with_loop

CONFIG = Config("pcm_s16le", 16000, 1)


async def hear(stream: ClientStream, heard: list[ServerMessage]) -> None:
    """Take what comes, up to the end."""
    while (message := await stream.receive()) is not None:
        heard.append(message)


@with_loop
async def test_all_that_the_server_said_is_told_whenever_it_ends_the_call() -> None:
    """Results that were said before, then the server's error: not what the library makes up of a write that failed."""
    host = FakeHost()
    async with serving(host) as addresses:
        for _ in range(20):
            async with connect(addresses.grpc, CONFIG) as stream:
                await stream.send(b"12")
                assert isinstance(await stream.receive(), Result)
                for number in range(3):
                    host.streams[-1].say(Result(number, 0, "kept", 4, True, False, 0, 1, 1.0))
                host.streams[-1].end(ModelFault("step failed"))
                for _ in range(50):
                    await stream.send(b"1" * 4000)
                heard: list[ServerMessage] = []
                with pytest.raises(ModelFault, match="^step failed$"):
                    await hear(stream, heard)
                kept = [message for message in heard if isinstance(message, Result) and message.text == "kept"]
                assert len(kept) == 3
                assert not any(isinstance(message, Done) for message in heard)
