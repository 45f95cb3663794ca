"""Refused HTTP requests: the status of the error table, one JSON object, and the headers that clients act on."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import Response

from streamer.wire import json
from streamer.wire.failure import Failure


def refusal_headers(failure: Failure) -> dict[str, str]:
    """Return `WWW-Authenticate` (RFC 9110, 11.6.1) or `Retry-After` if `failure` calls for one; for every dialect."""
    headers = {}
    if failure.code.http == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.retry_after_ms is not None:
        headers["retry-after"] = str(math.ceil(failure.retry_after_ms / 1000))
        headers["retry-after-ms"] = str(failure.retry_after_ms)
    return headers


async def refuse(_: Request, error: Exception) -> Response:
    """Answer a request that raised `error`; an exception handler of the apps."""
    failure = Failure.of(error)
    body = json.encode_error(failure)
    return Response(body, failure.code.http, refusal_headers(failure), "application/json")


async def gone(_: Request, __: Exception) -> Response:
    """End a request whose client went while it was sending: nobody is left to read it, and nothing is wrong here."""
    return Response(status_code=499)
