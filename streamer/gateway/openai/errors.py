"""Errors in the shape that clients of OpenAI's API read: message, type, param and code."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from streamer.errors import InvalidRequest, UnknownBundle
from streamer.gateway.refusals import refusal_headers
from streamer.wire.failure import Failure

# Names that these clients know; all other errors keep the name that they have on every surface.
_CODES = {
    "unauthenticated": "invalid_api_key",
    "unknown_model": "model_not_found",
    "quota_exceeded": "rate_limit_exceeded",
    "internal": "server_error",
}
_RATE_LIMITED = 429
_SHOWN = 60


class BadParameter(InvalidRequest):
    """A parameter that cannot be served; `param` is its name, `code` what clients may tell it by."""

    def __init__(self, param: str, message: str, code: str | None = None) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param
        self.code = code


class UnknownModel(UnknownBundle):
    """No model of that name, or alias, is served; `param` names the parameter that asked for it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


def expected(param: str, wanted: str, got: Any) -> BadParameter:
    """Return the error of `param` that holds `got` (a JSON value or the text of a form field)."""
    shown = {dict: "an object", list: "an array", type(None): "nothing"}.get(type(got)) or repr(got)
    cut = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return BadParameter(param, f"expected {wanted}, got {cut}")


def describe(error: BaseException) -> dict[str, Any]:
    """Return what a client is told of `error`: the object under the key `error`."""
    failure = Failure.of(error)
    name = failure.code.name
    return {
        "message": failure.message,
        "type": _type(failure.code.http),
        "param": getattr(error, "param", None),
        "code": getattr(error, "code", None) or _CODES.get(name, name),
    }


def error_response(error: BaseException) -> JSONResponse:
    """Return the response of a request that failed, with a hint when to try again if there is one."""
    failure = Failure.of(error)
    return JSONResponse({"error": describe(error)}, failure.code.http, refusal_headers(failure))


def _type(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == _RATE_LIMITED else "invalid_request_error"
