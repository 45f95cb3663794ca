"""Keys for tests, and requests that show them."""

from __future__ import annotations

from typing import Any

from starlette.requests import HTTPConnection

from streamer.config import AccessSection, KeySection
from streamer.gateway.keys import digest

ADA, BOB, ROOT, OLD = (f"streamer_{name}-secret" for name in ("ada", "bob", "root", "old"))
KEYS = (
    KeySection(name="ada", hash=digest(ADA)),
    KeySection(name="bob", hash=digest(BOB), max_streams=1, max_requests_per_minute=2),
    KeySection(name="root", hash=digest(ROOT), admin=True),
    KeySection(name="old", hash=digest(OLD), expires="2001-02-03"),
)


def access_settings(**others: Any) -> AccessSection:
    return AccessSection(keys=KEYS, **others)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def request(
    headers: dict[str, str] | None = None,
    query: str = "",
    subprotocols: tuple[str, ...] = (),
    client: tuple[str, int] | None = ("192.0.2.7", 50000),
) -> HTTPConnection:
    """A request as the apps see it."""
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {
        "type": "websocket",
        "headers": pairs,
        "query_string": query.encode(),
        "subprotocols": list(subprotocols),
        "client": client,
        "path": "/v1/stream",
    }
    return HTTPConnection(scope)
