"""One ASGI app: streams over WebSocket, health, readiness, metrics and the list of models."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from streamer.errors import StreamerError
from streamer.gateway.readiness import Readiness
from streamer.gateway.relay import ClientGone, relay
from streamer.session.messages import ClientMessage, Ready, ServerMessage
from streamer.wire import json
from streamer.wire.failure import Failure

if TYPE_CHECKING:
    from streamer.host import Host

SUBPROTOCOL = "streamer.v1"
_FAREWELL_S = 1.0

log = structlog.get_logger()


def create_app(host: Host, readiness: Readiness, write_timeout_s: float) -> Starlette:
    """Return the app that serves `host`."""

    async def stream(websocket: WebSocket) -> None:
        await _Connection(websocket, write_timeout_s).serve(host)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = readiness.reason
        return JSONResponse({"ready": reason is None, "reason": reason}, status_code=200 if reason is None else 503)

    async def metrics(_: Request) -> Response:
        return Response(host.metrics_text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def models(_: Request) -> Response:
        return JSONResponse({"models": [dataclasses.asdict(info) for info in host.models()]})

    return Starlette(
        routes=[
            WebSocketRoute("/v1/stream", stream),
            Route("/v1/models", models),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


class _Connection:
    """One WebSocket: JSON text and binary audio in, JSON text out, then one close frame."""

    def __init__(self, websocket: WebSocket, write_timeout_s: float) -> None:
        self._websocket = websocket
        self._write_timeout_s = write_timeout_s
        # Known from `Ready` on; nothing before it holds samples.
        self._wire_rate = 1

    async def serve(self, host: Host) -> None:
        try:
            await self._accept()
            await relay(host.connect(), self._incoming(), self._write, self._write_timeout_s)
            await self._send(self._websocket.close(1000))
        except ClientGone:
            return
        except StreamerError as error:
            await self._fail(Failure.of(error))
        except Exception as error:
            log.exception("websocket stream failed")
            await self._fail(Failure.of(error))

    async def _accept(self) -> None:
        offered = self._websocket.scope["subprotocols"]
        # A browser cannot read the status of a refused upgrade: accept first, then say what is wrong.
        await self._send(self._websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None))

    async def _incoming(self) -> AsyncIterator[ClientMessage]:
        while (event := await self._websocket.receive())["type"] == "websocket.receive":
            data = event.get("bytes")
            yield json.decode_client(event["text"] if data is None else data)
        raise ClientGone

    async def _write(self, message: ServerMessage) -> None:
        if isinstance(message, Ready):
            self._wire_rate = message.wire_rate
        await self._send(self._websocket.send_text(json.encode_server(message, self._wire_rate)))

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (WebSocketDisconnect, RuntimeError):
            # uvicorn raises RuntimeError between cutting off a bad frame and reporting the disconnect.
            raise ClientGone from None

    async def _fail(self, failure: Failure) -> None:
        # Who does not read will not read this either.
        with contextlib.suppress(ClientGone, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._send(self._websocket.send_text(json.encode_error(failure)))
                await self._send(self._websocket.close(failure.code.websocket, failure.code.name))
