"""Where requests carry their credential."""

from __future__ import annotations

from starlette.requests import HTTPConnection

_SCHEMES = ("bearer", "token")


def key_of(authorization: str) -> str | None:
    """Return the key of a header `Authorization: Bearer KEY` (or `Token KEY`); None if there is none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() in _SCHEMES and key.strip() else None


def http_credential(connection: HTTPConnection) -> str | None:
    """Return the key that an HTTP request shows; None if there is none."""
    return key_of(connection.headers.get("authorization", ""))


def websocket_credential(connection: HTTPConnection) -> str | None:
    """Return the credential of a WebSocket's upgrade request; None if there is none."""
    return http_credential(connection)
