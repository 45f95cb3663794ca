"""The models of a server, over either transport."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import grpc

from streamer.client import grpc as over_grpc
from streamer.client import http
from streamer.client.access import Access
from streamer.client.stream import check_url
from streamer.session.messages import ModelInfo as Model
from streamer.v1 import speech_pb2 as pb

_METHOD = "/streamer.v1.Models/ListModels"
_TIMEOUT_S = 30.0


async def list_models(url: str, access: Access) -> tuple[Model, ...]:
    """Return what is served at `url`; raises `ConnectionError`, and `Unauthenticated` if a key is missing."""
    check_url(url)
    if urlsplit(url).scheme in ("grpc", "grpcs"):
        return await _over_grpc(url, access)
    plain = await asyncio.to_thread(http.get_json, url, "/v1/models", access)
    return tuple(_model(values) for values in plain["models"])


async def _over_grpc(url: str, access: Access) -> tuple[Model, ...]:
    async with over_grpc.open_channel(url, access) as channel:
        method: Any = channel.unary_unary(
            _METHOD,
            request_serializer=pb.ListModelsRequest.SerializeToString,
            response_deserializer=pb.ListModelsResponse.FromString,
        )
        try:
            response = await method(pb.ListModelsRequest(), metadata=access.metadata, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise over_grpc.translate(error) from None
    names = [field.name for field in fields(Model)]
    return tuple(_model({name: getattr(model, name) for name in names}) for model in response.models)


def _model(values: dict[str, Any]) -> Model:
    # A server may tell more than this client knows, and an older one tells of no voices.
    known = {field.name: values[field.name] for field in fields(Model) if field.name in values}
    return Model(**{**known, "languages": tuple(known["languages"]), "voices": tuple(known.get("voices", ()))})
