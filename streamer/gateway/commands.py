"""What operators tell a running server about its models; routes of the admin port."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from streamer.errors import InvalidRequest
from streamer.gateway.bodies import read_command
from streamer.gateway.services import Services


def model_commands(services: Services) -> list[BaseRoute]:
    """Return `POST /v1/models/load` and `/unload` with `{"model": "name"}`, and `/reload`, which takes no body."""

    async def load(request: Request) -> Response:
        return await _of_model(request, "loaded", services.host.rollout.load)

    async def unload(request: Request) -> Response:
        return await _of_model(request, "unloaded", services.host.rollout.unload)

    async def reload(request: Request) -> Response:
        services.access.of_operator(request)
        return JSONResponse({"loaded": await services.host.rollout.reload()})

    async def _of_model(request: Request, done: str, command: Callable[[str], Awaitable[str]]) -> Response:
        services.access.of_operator(request)
        return JSONResponse({done: await command(await _model_of(request))})

    posts = {"/v1/models/load": load, "/v1/models/unload": unload, "/v1/models/reload": reload}
    return [Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()]


async def _model_of(request: Request) -> str:
    """Return the name in the body; raises `InvalidRequest`."""
    try:
        values = json.loads(await read_command(request))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or set(values) != {"model"} or not isinstance(values["model"], str):
        raise InvalidRequest('expected {"model": "NAME"} or {"model": "NAME@VERSION"}, got another body')
    return values["model"]
