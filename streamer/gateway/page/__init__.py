"""The browser page: a person opens the server's address and talks.

The page is static, made of files beside this module and of nothing from elsewhere. It speaks the same protocol as
every other client, `/v1/stream`, and is allowed nothing but that by its Content-Security-Policy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streamer.gateway.services import Services

_FOLDER = Path(__file__).parent / "static"
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Scripts, styles, pictures and connections of this server only; nothing inline, nothing evaluated, no HTML from
# strings (CSP level 3, Trusted Types). Recordings are played and saved from memory, hence `blob:`.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = {
    # Asked for again each time, which costs a 304: a server and its page must be of one version.
    "cache-control": "no-cache",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the page, read once when the server starts."""

    content: bytes
    headers: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> _File:
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return cls(content, {**_HEADERS, "content-type": _TYPES[path.suffix], "etag": etag})

    def answer(self, request: Request) -> Response:
        if _is_known(request.headers.get("if-none-match", ""), self.headers["etag"]):
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of the page and of its files; everybody may have them, keys are asked for by what they call."""
    files = {path.name: _File.read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}

    async def index(request: Request) -> Response:
        return files[_INDEX].answer(request)

    async def file(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        return Response("not found\n", 404, media_type="text/plain") if found is None else found.answer(request)

    return [Route("/", index), Route("/page/{name}", file)]


def _is_known(if_none_match: str, etag: str) -> bool:
    """Whether a client has this version already (RFC 9110, 13.1.2: compared weakly, one of a list, or any)."""
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in known or known == ["*"]
