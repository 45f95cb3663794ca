"""One WebSocket of a vosk client: a reply to every frame of audio, in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import structlog
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from streamer.errors import InvalidRequest
from streamer.gateway.frames import pcm_frames
from streamer.gateway.relay import ClientGone, relay
from streamer.gateway.services import Services
from streamer.gateway.sockets import farewell, sent, told
from streamer.gateway.vosk.replies import Replies
from streamer.gateway.vosk.requests import Change, Eof, Settings, read_text
from streamer.host import Stream
from streamer.session.messages import ClientMessage, Config, Finalize, Finalized, ServerMessage
from streamer.wire.failure import Failure

log = structlog.get_logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes: vosk clients connect to the root unless they are told a path."""

    async def stream(websocket: WebSocket) -> None:
        await _Connection(websocket, services).serve()

    return [WebSocketRoute("/", stream), WebSocketRoute("/vosk", stream)]


class _NoAudio(Exception):
    """The client said `eof` before any audio, so there is no stream that could end."""


class _Connection:
    """Audio and JSON text in; JSON text out, one frame for each of audio, reset and eof."""

    def __init__(self, websocket: WebSocket, services: Services) -> None:
        self._websocket = websocket
        self._services = services
        self._settings = Settings()
        # Set when the first audio comes, and with it all that is asked for is known.
        self._config: Config | None = None
        self._replies = Replies(1, False, 0)
        self._finalized = asyncio.Event()

    async def serve(self) -> None:
        services = self._services
        async with farewell(self._fail, "vosk stream failed"):
            await sent(self._websocket.accept())
            stream = services.host.connect(services.access.of_websocket(self._websocket))
            # Without audio the stream never begins; with it, eof is answered once all is said.
            with contextlib.suppress(_NoAudio):
                await relay(stream, self._incoming(stream), self._take, services.write_timeout_s)
            await self._reply(self._replies.result())
            await sent(self._websocket.close(1000))

    async def _incoming(self, stream: Stream) -> AsyncIterator[ClientMessage]:
        while (event := await self._websocket.receive())["type"] == "websocket.receive":
            data = event.get("bytes")
            if data is not None:
                for message in self._audio(data):
                    yield message
                # What the model can say of the frame it shall say in the reply; it waits for no later audio.
                await stream.settle()
                await self._reply(self._replies.after_frame())
                continue
            match read_text(event["text"]):
                case Change() as change:
                    self._change(change)
                case Eof():
                    if self._config is None:
                        raise _NoAudio
                    return
                case _:
                    if self._config is not None:
                        yield Finalize()
                        await self._finalized.wait()
                        self._finalized.clear()
                    await self._reply(self._replies.result())
        raise ClientGone

    def _audio(self, data: bytes) -> list[ClientMessage]:
        """The messages of a frame of audio; of the first one, the config before it."""
        opening: list[ClientMessage] = []
        if self._config is None:
            server = self._services.settings
            self._config = self._settings.config(server.vosk_sample_rate, server.adapter_mode)
            rate, settings = self._config.sample_rate, self._settings
            self._replies = Replies(rate, settings.words, settings.max_alternatives)
            opening.append(self._config)
        limits = self._services.settings.session
        return [*opening, *pcm_frames(data, self._config.encoding, self._config.sample_rate, limits)]

    def _change(self, change: Change) -> None:
        if self._config is not None:
            raise InvalidRequest("expected config before audio")
        self._settings = change.apply(self._settings)

    async def _take(self, message: ServerMessage) -> None:
        self._replies.take(message)
        if isinstance(message, Finalized):
            self._finalized.set()

    async def _reply(self, text: str) -> None:
        await told(self._websocket, text, self._services.write_timeout_s)

    async def _fail(self, error: Exception) -> None:
        """Say what is wrong in the place of a reply. The protocol knows no errors, but people read replies."""
        failure = Failure.of(error)
        text = json.dumps({"error": failure.message, "code": failure.code.name})
        await sent(self._websocket.send_text(text))
        await sent(self._websocket.close(failure.code.websocket, failure.code.name))
