"""Tickets: what a page shows instead of a key, where browsers let it set no header. Short-lived, and good once."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from streamer.errors import Unauthenticated

if TYPE_CHECKING:
    from streamer.gateway.services import Services

PREFIX = "t1."
_NOT_VALID = "ticket is not valid"


class Tickets:
    """Makes tickets and takes them back. `clock` gives seconds since 1970, the same for all who share `secret`.

    A ticket is `t1.BODY.MAC`, both in base64url; the body is `expires:nonce:name`. Used tickets are remembered in this
    process until they expire: processes that share the secret each take a ticket once.
    """

    def __init__(self, secret: bytes, lifetime_s: int, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        self.lifetime_s = lifetime_s
        # Nonces of used tickets: of this period of one lifetime, and of the one before it.
        self._used: set[str] = set()
        self._used_before: set[str] = set()
        self._period = 0

    def issue(self, name: str) -> str:
        """Return a new ticket for the key `name`, empty for nobody known."""
        body = f"{int(self._clock()) + self.lifetime_s}:{secrets.token_hex(16)}:{name}".encode()
        return f"{PREFIX}{_text(body)}.{_text(self._mac(body))}"

    def redeem(self, ticket: str) -> str:
        """Return the name that `ticket` was issued for; raises `Unauthenticated`, also the second time."""
        expires, nonce, name = self._opened(ticket).decode().split(":", 2)
        if self._clock() >= int(expires):
            raise Unauthenticated("ticket has expired")
        self._forget_expired()
        if nonce in self._used or nonce in self._used_before:
            raise Unauthenticated("ticket was used before")
        self._used.add(nonce)
        return name

    def _opened(self, ticket: str) -> bytes:
        try:
            body, mac = map(_bytes, ticket.removeprefix(PREFIX).split("."))
        except (ValueError, binascii.Error):
            raise Unauthenticated(_NOT_VALID) from None
        if not hmac.compare_digest(mac, self._mac(body)):
            raise Unauthenticated(_NOT_VALID)
        return body

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"streamer ticket 1\0" + body, "sha256")

    def _forget_expired(self) -> None:
        period = int(self._clock() // self.lifetime_s)
        if period != self._period:
            self._used_before = self._used if period == self._period + 1 else set()
            self._used, self._period = set(), period


def routes(services: Services) -> list[BaseRoute]:
    """Return the route that gives tickets to holders of keys."""

    async def give(request: Request) -> Response:
        ticket = services.access.ticket_for(request)
        answer = {"ticket": ticket, "expires_in_s": services.settings.access.ticket_lifetime_s}
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    return [Route("/v1/tickets", give, methods=["POST"])]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
