"""The models under the names that clients use: bundles, `name@version`, and the aliases of the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.languages import served_language
from streamer.gateway.openai.errors import BadParameter, UnknownModel, error_response
from streamer.gateway.services import Services

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

TASK = "transcribe"


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of the list of models, in OpenAI's shape and, under `models`, in our own."""

    async def list_models(request: Request) -> Response:
        try:
            services.access.of_request(request)
        except StreamerError as error:
            return error_response(error)
        served = services.host.models()
        names = [*(info.name for info in served), *services.settings.openai.aliases]
        plain = [dataclasses.asdict(info) for info in served]
        return JSONResponse({"object": "list", "data": [_plain(name) for name in names], "models": plain})

    async def retrieve(request: Request) -> Response:
        try:
            services.access.of_request(request)
            name = request.path_params["name"]
            _find(services, name, "model", services.host.models())
        except StreamerError as error:
            return error_response(error)
        return JSONResponse(_plain(name))

    return [Route("/v1/models", list_models), Route("/v1/models/{name:path}", retrieve)]


def check_aliases(services: Services) -> None:
    """Raise `InvalidRequest` if an alias of the settings stands for a model that is not served."""
    served = transcribers(services)
    for alias, name in services.settings.openai.aliases.items():
        if not _named(name, served):
            known = ", ".join(info.name for info in served)
            raise InvalidRequest(f"setting openai.aliases.{alias}: expected one of {known}, got {name!r}")


def transcribers(services: Services) -> list[ModelInfo]:
    """Return the served models that turn speech into text, the default first."""
    served = [info for info in services.host.models() if info.task == TASK]
    return sorted(served, key=lambda info: not info.is_default)


def resolve(services: Services, name: str, param: str) -> ModelInfo:
    """Return the recogniser that a client calls `name`; raises `UnknownModel`, which names `param`."""
    return _find(services, name, param, transcribers(services))


def language_of(tag: str, info: ModelInfo, services: Services, param: str) -> str:
    """Return what `info` calls the language `tag`, empty if none is given; raises `BadParameter`."""
    language = served_language(tag, key_of(info), services.host.models())
    if language and info.languages and language not in info.languages:
        raise BadParameter(param, f"model {info.name} speaks {', '.join(info.languages)}, got {tag!r:.40}")
    return language


def key_of(info: ModelInfo) -> str:
    """Return `name@version`."""
    return f"{info.name}@{info.version}"


def _find(services: Services, name: str, param: str, served: Iterable[ModelInfo]) -> ModelInfo:
    served = tuple(served)
    aliases = services.settings.openai.aliases
    found = _named(aliases.get(name, name), served)
    if found is None:
        known = ", ".join([*(info.name for info in served), *aliases])
        raise UnknownModel(param, f"unknown model {name!r:.100}, expected one of {known}")
    return found


def _named(name: str, served: Iterable[ModelInfo]) -> ModelInfo | None:
    return next((info for info in served if name in (info.name, key_of(info))), None)


def _plain(name: str) -> dict[str, Any]:
    # Bundles do not say when they were made.
    return {"id": name, "object": "model", "created": 0, "owned_by": "streamer"}
