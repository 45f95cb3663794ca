"""Streams over WebSocket in the protocol of this server: JSON text, and audio and packets as raw binary frames."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from streamer.gateway.relay import ClientGone, relay
from streamer.gateway.services import Services
from streamer.gateway.sockets import farewell, sent
from streamer.session.messages import ClientMessage, Ready, ServerMessage
from streamer.wire import json
from streamer.wire.failure import Failure

SUBPROTOCOL = "streamer.v1"

log = structlog.get_logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the route of streams."""

    async def stream(websocket: WebSocket) -> None:
        await _Connection(websocket, services).serve()

    return [WebSocketRoute("/v1/stream", stream)]


class _Connection:
    """One WebSocket: JSON text and binary audio both ways, then one close frame."""

    def __init__(self, websocket: WebSocket, services: Services) -> None:
        self._websocket = websocket
        self._services = services
        # Known from `Ready` on; nothing before it holds samples.
        self._wire_rate = 1

    async def serve(self) -> None:
        services = self._services
        async with farewell(self._fail, "websocket stream failed"):
            await self._accept()
            caller = services.access.of_websocket(self._websocket)
            await relay(services.host.connect(caller), self._incoming(), self._write, services.write_timeout_s)
            await sent(self._websocket.close(1000))

    async def _accept(self) -> None:
        offered = self._websocket.scope["subprotocols"]
        # A browser cannot read the status of a refused upgrade: accept first, then say what is wrong.
        await sent(self._websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None))

    async def _incoming(self) -> AsyncIterator[ClientMessage]:
        while (event := await self._websocket.receive())["type"] == "websocket.receive":
            data = event.get("bytes")
            yield json.decode_client(event["text"] if data is None else data)
        raise ClientGone

    async def _write(self, message: ServerMessage) -> None:
        if isinstance(message, Ready):
            self._wire_rate = message.wire_rate
        frame = json.encode_server(message, self._wire_rate)
        send = self._websocket.send_bytes(frame) if isinstance(frame, bytes) else self._websocket.send_text(frame)
        await sent(send)

    async def _fail(self, error: Exception) -> None:
        failure = Failure.of(error)
        await sent(self._websocket.send_text(json.encode_error(failure)))
        await sent(self._websocket.close(failure.code.websocket, failure.code.name))
