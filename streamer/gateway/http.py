"""One ASGI app: health, readiness, metrics, and the routes of every protocol over HTTP."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from streamer.errors import StreamerError
from streamer.gateway import deepgram, openai, page, tickets, vosk, websocket
from streamer.gateway.refusals import gone, refuse
from streamer.gateway.services import Services
from streamer.host.tracing import traceparent

# Each has a function `routes(services)`; a protocol over HTTP or WebSocket is one more module here.
_PROTOCOLS = (websocket, tickets, openai, deepgram, vosk, page)


def create_app(services: Services) -> Starlette:
    """Return the app of `services`."""
    return Starlette(
        routes=[*_own_routes(services), *(route for p in _PROTOCOLS for route in p.routes(services))],
        middleware=[Middleware(_TraceContext), *_middleware(services)],
        exception_handlers={StreamerError: refuse, ClientDisconnect: gone},
    )


class _TraceContext:
    """Tells the host which trace the client of a request is in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            traceparent.set(Headers(scope=scope).get("traceparent", ""))
        await self._app(scope, receive, send)


def _middleware(services: Services) -> list[Middleware]:
    """Browsers ask before a page of another site may send a key: answer for the sites of the settings only."""
    origins = services.settings.access.origins
    if not origins:
        return []
    headers = ["authorization", "content-type"]
    return [Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=headers)]


def _own_routes(services: Services) -> list[BaseRoute]:
    host, readiness = services.host, services.readiness

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = readiness.reason
        return JSONResponse({"ready": reason is None, "reason": reason}, status_code=200 if reason is None else 503)

    async def metrics(request: Request) -> Response:
        for_admins = services.settings.access.metrics == "admin_key"
        if for_admins:
            services.access.of_operator(request)
        return Response(host.metrics_text(with_keys=for_admins), headers={"content-type": CONTENT_TYPE_LATEST})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        *([] if services.settings.access.metrics == "admin_port" else [Route("/metrics", metrics)]),
    ]
