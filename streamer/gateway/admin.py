"""The admin port: metrics, and what operators tell a running server to do. Apart from the ports that clients reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from streamer.config import Settings
from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.access import Access
from streamer.gateway.refusals import gone, refuse
from streamer.gateway.services import Services


def check_exposure(settings: Settings, access: Access) -> None:
    """Raise `InvalidRequest` if commands would be open to a network, or metrics are sent to a port that is not."""
    if settings.admin_port is None:
        if settings.access.metrics == "admin_port":
            raise InvalidRequest("setting admin_port: expected a port for access.metrics = 'admin_port', got none")
    elif not is_loopback(settings.admin_host) and not access.has_admin:
        raise InvalidRequest(
            f"setting admin_host: expected a loopback address or a key with admin = true, got {settings.admin_host!r}"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def create_admin_app(services: Services, commands: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the app of the admin port; `commands` are further routes, each guarded by `access.of_operator`."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = services.readiness.reason
        return JSONResponse({"ready": reason is None, "reason": reason}, status_code=200 if reason is None else 503)

    async def metrics(_: Request) -> Response:
        return Response(services.host.metrics_text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def reload_keys(request: Request) -> Response:
        services.access.of_operator(request)
        await run_in_threadpool(services.access.reload)
        return JSONResponse({"keys": services.access.key_names})

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/v1/keys/reload", reload_keys, methods=["POST"]),
        *commands,
    ]
    return Starlette(routes=routes, exception_handlers={StreamerError: refuse, ClientDisconnect: gone})
