"""The models under the names that clients use: bundles, `name@version`, and the aliases of the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from streamer.errors import InvalidRequest, StreamerError, UnknownBundle
from streamer.gateway import recognisers
from streamer.gateway.openai.errors import BadParameter, UnknownModel, error_response
from streamer.gateway.recognisers import transcribers as transcribers
from streamer.gateway.services import Services

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

# OpenAI's models that speak. Clients have one of these names in them, and there is no other voice to be told by it.
SPEECH_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")


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
    served = [*transcribers(services), *recognisers.voices(services)]
    recognisers.check_aliases("openai", services.settings.openai.aliases, served)


def resolve(services: Services, name: str, param: str) -> ModelInfo:
    """Return the recogniser that a client calls `name`; raises `UnknownModel`, which names `param`."""
    return _find(services, name, param, transcribers(services))


def resolve_voice(services: Services, name: str, param: str) -> ModelInfo:
    """Return the voice that a client calls `name`; raises `UnknownModel`, which names `param`.

    OpenAI's own names stand for the default voice, unless the settings say otherwise.
    """
    served = recognisers.voices(services)
    if not served:
        raise UnknownModel(param, "expected a server with a model of the task synthesize, got one without")
    if name in SPEECH_MODELS and name not in services.settings.openai.aliases:
        return served[0]
    return _find(services, name, param, served)


def language_of(tag: str, info: ModelInfo, services: Services, param: str) -> str:
    """Return what `info` calls the language `tag`, empty if none is given; raises `BadParameter`."""
    try:
        return recognisers.language_of(tag, info, services)
    except InvalidRequest as error:
        raise BadParameter(param, str(error)) from None


def _find(services: Services, name: str, param: str, served: Iterable[ModelInfo]) -> ModelInfo:
    try:
        return recognisers.find(name, services.settings.openai.aliases, served)
    except UnknownBundle as error:
        raise UnknownModel(param, str(error)) from None


def _plain(name: str) -> dict[str, Any]:
    # Bundles do not say when they were made.
    return {"id": name, "object": "model", "created": 0, "owned_by": "streamer"}
