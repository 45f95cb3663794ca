"""Who may come in: credentials to callers, the same on every surface."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.requests import HTTPConnection

from streamer.config import AccessSection, KeySection
from streamer.errors import InvalidRequest, PermissionDenied, StreamerError, Unauthenticated
from streamer.gateway import tickets
from streamer.gateway.credentials import (
    address_of,
    http_credential,
    metadata_credential,
    peer_address,
    websocket_credential,
)
from streamer.gateway.keys import KeyRing, read_keys
from streamer.gateway.tickets import Tickets
from streamer.host.callers import ANONYMOUS, Caller
from streamer.host.quotas import Quotas

log = structlog.get_logger()


class Access:
    """Tells callers by their credentials. Without keys in the settings everybody is let in, and nobody is known.

    `clock` gives seconds since 1970, `quotas` counts requests, `on_refused` is told of who is sent away. Raises
    `InvalidRequest` for settings that contradict each other and for a file of keys that cannot be read.
    """

    def __init__(
        self,
        settings: AccessSection | None = None,
        clock: Callable[[], float] = time.time,
        quotas: Quotas | None = None,
        on_refused: Callable[[StreamerError], None] | None = None,
    ) -> None:
        self._settings = settings or AccessSection()
        self._clock = clock
        self._quotas = quotas or Quotas()
        self._on_refused = on_refused or (lambda error: None)
        self._keys = self._read_keys()
        secret = self._settings.ticket_secret
        signer = secret.get_secret_value().encode() if secret else secrets.token_bytes(32)
        self._tickets = Tickets(signer, self._settings.ticket_lifetime_s, clock)
        if self._settings.metrics == "admin_key" and not self.has_admin:
            raise InvalidRequest("setting access.metrics: expected a key with admin = true, got none")

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return not any(self._keys)

    @property
    def has_admin(self) -> bool:
        """Whether there is a key that may give commands."""
        return any(key.admin for key in self._keys)

    @property
    def key_names(self) -> list[str]:
        """The names of the keys that are known now."""
        return [key.name for key in self._keys]

    def reload(self) -> None:
        """Read the file of keys again; raises `InvalidRequest`, and then the keys are what they were."""
        self._keys = self._read_keys()

    def caller(self, credential: str | None, address: str = "") -> Caller:
        """Return who shows `credential` (a key or a ticket, None if none was shown) at `address`.

        Raises `Unauthenticated`. A ticket is used up by this.
        """
        if self.is_open:
            return self.stranger(address)
        try:
            with self._counted():
                return self._known(credential)
        except StreamerError as error:
            log.info("access refused", address=address, reason=str(error))
            raise

    def stranger(self, address: str) -> Caller:
        """Return somebody unknown at `address`, where such are let in."""
        limit = self._settings.max_streams_per_address
        return ANONYMOUS if limit is None else Caller("", max_streams=limit, address=address)

    def of_request(self, request: HTTPConnection) -> Caller:
        """Return who makes an HTTP request, and count it.

        Raises `PermissionDenied` for a page of another site, `Unauthenticated` and `QuotaExceeded`.
        """
        self.check_origin(request)
        caller = self.caller(http_credential(request), address_of(request))
        with self._counted():
            self._quotas.count_request(caller)
        return caller

    def of_websocket(self, connection: HTTPConnection) -> Caller:
        """Return who opens a WebSocket; raises `PermissionDenied` for a page of another site, and `Unauthenticated`."""
        self.check_origin(connection)
        return self.caller(websocket_credential(connection), address_of(connection))

    def of_call(self, context: Any) -> Caller:
        """Return who makes a gRPC call (a `grpc.aio.ServicerContext`); raises `Unauthenticated`."""
        metadata = dict(context.invocation_metadata() or ())
        return self.caller(metadata_credential(metadata), peer_address(context.peer()))

    def of_operator(self, request: HTTPConnection) -> Caller:
        """Return who gives a command of operators; raises like `of_request`, and `PermissionDenied` without admin."""
        caller = self.of_request(request)
        if not self.is_open and not caller.is_admin:
            with self._counted():
                raise PermissionDenied("expected a key with admin rights")
        return caller

    def ticket_for(self, request: HTTPConnection) -> str:
        """Return a ticket for who shows a key; a ticket buys no other. Raises like `of_request`."""
        if (http_credential(request) or "").startswith(tickets.PREFIX):
            raise Unauthenticated("expected an API key, got a ticket")
        return self._tickets.issue(self.of_request(request).name)

    def check_origin(self, connection: HTTPConnection) -> None:
        """Raise `PermissionDenied` if a browser says that a page of another site is behind this, unless it may."""
        origin, allowed = connection.headers.get("origin"), self._settings.origins
        if origin is None or origin in allowed or "*" in allowed:
            return
        # An origin is a scheme, `://` and what browsers write into `Host` too (RFC 6454, 6.2).
        site = origin.partition("://")[2].lower()
        if not site or site != connection.headers.get("host", "").lower():
            with self._counted():
                raise PermissionDenied(f"pages of {origin!r:.100} may not use this server")

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except StreamerError as error:
            self._on_refused(error)
            raise

    def _known(self, credential: str | None) -> Caller:
        if credential is None:
            raise Unauthenticated("expected an API key, got none")
        if credential.startswith(tickets.PREFIX):
            key = self._keys.named(self._tickets.redeem(credential))
            if key is None:
                raise Unauthenticated("ticket is not valid")
            # A page is no place to give commands from.
            return dataclasses.replace(self._caller_of(key), is_admin=False)
        key = self._keys.find(credential)
        if key is None:
            raise Unauthenticated("unknown API key")
        return self._caller_of(key)

    def _caller_of(self, key: KeySection) -> Caller:
        if key.expires is not None and datetime.fromtimestamp(self._clock(), UTC) >= _in_utc(key.expires):
            raise Unauthenticated("API key has expired")
        return Caller(
            key.name,
            max_streams=key.max_streams,
            max_new_streams_per_minute=key.max_new_streams_per_minute,
            max_requests_per_minute=key.max_requests_per_minute,
            audio_s_per_minute=key.audio_s_per_minute,
            is_admin=key.admin,
        )

    def _read_keys(self) -> KeyRing:
        keys, file = self._settings.keys, self._settings.keys_file
        if file is not None:
            keys = (*keys, *read_keys(file))
            if not keys:
                # Whoever names a file wants keys; one that is empty by mistake must not open the server.
                raise InvalidRequest(f"keys file {file}: expected at least one key, got none")
        return KeyRing(keys)


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
