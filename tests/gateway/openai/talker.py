"""A raw Realtime client, and a host that says what a test wants of speech."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection

from streamer.gateway.server import Addresses
from tests.gateway.fake_host import FakeHost, FakeModelInfo
from tests.gateway.serving import websocket

PATH = "/v1/realtime?intent=transcription"


class DetectingHost(FakeHost):
    """Serves a detector too; its streams say what `stream.say` is given."""

    def models(self) -> tuple[FakeModelInfo, ...]:
        return (FakeModelInfo(), FakeModelInfo(name="ear", task="vad", languages=()))


class Talker:
    """One connection, after `session.created`."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, kind: str, **values: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **values}))

    async def append(self, data: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())

    async def update(self, **given: Any) -> dict[str, Any]:
        """Change the input of the session; returns the answer."""
        session = {"type": "transcription", "audio": {"input": given}}
        await self.send("session.update", session=session)
        return await self.hear()

    async def until_error(self, **given: Any) -> dict[str, Any]:
        """Change the input of the session in vain; returns the error."""
        await self.send("session.update", session={"type": "transcription", "audio": {"input": given}})
        while (event := await self.hear())["type"] != "error":
            pass
        error: dict[str, Any] = event["error"]
        return error

    async def hear(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self.connection.recv(decode=True))
        assert event.pop("event_id").startswith("event_")
        return event

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """All events up to the first of `kind`, or of an error."""
        heard = [await self.hear()]
        while heard[-1]["type"] not in (kind, "error"):
            heard.append(await self.hear())
        assert heard[-1]["type"] == kind, heard[-1]
        return heard


@asynccontextmanager
async def talking(addresses: Addresses, path: str = PATH, **options: Any) -> AsyncIterator[Talker]:
    """Connect and take the first event."""
    async with websocket(addresses, path=path, **options) as connection:
        talker = Talker(connection)
        assert (await talker.hear())["type"].endswith("session.created")
        yield talker
