"""Certificates of the ports: checked when they are read, and read again while the server runs."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from streamer.config import TlsSection
from streamer.errors import InvalidRequest

_LOOK_S = 10.0
_SOON_S = 14 * 86400
_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_END_CERTIFICATE = b"-----END CERTIFICATE-----"
# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_DATES = {9: "is not valid yet", 10: "has expired"}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Files:
    """What the files hold, in PEM."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """The certificate, key and client authorities of `settings`, as both kinds of servers want them.

    Connections take what was read last; those that are open keep what they began with. Raises `InvalidRequest` for
    files that cannot be used. `clock` gives seconds since 1970.
    """

    def __init__(self, settings: TlsSection, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._files, self._context = self._read()

    def http_context(self) -> ssl.SSLContext:
        """Return the context of an HTTP server."""
        context = _context(self._settings)

        def take_newest(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._context

        # Called in every handshake, also in those that name no server.
        context.sni_callback = take_newest
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a gRPC server."""
        given = self._files

        def newest() -> Any:
            nonlocal given
            if given is self._files:
                return None
            given = self._files
            return _grpc_configuration(given)

        return grpc.dynamic_ssl_server_credentials(_grpc_configuration(given), newest, given.client_ca is not None)

    def reload(self) -> bool:
        """Read the files again and return whether they have changed; raises `InvalidRequest` and keeps what it had."""
        if _read(self._settings) == self._files:
            return False
        self._files, self._context = self._read()
        return True

    async def follow(self) -> None:
        """Reload whenever the files have changed; never ends."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self.try_reload)

    def try_reload(self) -> None:
        """Reload, and log what came of it."""
        try:
            if self.reload():
                log.info("certificates reloaded")
        except InvalidRequest as error:
            log.error("certificates not reloaded", reason=str(error))

    def _read(self) -> tuple[_Files, ssl.SSLContext]:
        files = _read(self._settings)
        context = _context(self._settings)
        if _read(self._settings) != files:
            raise InvalidRequest("tls files changed while they were read")
        trouble = _dates_of(self._settings, files.cert, self._clock())
        if trouble:
            log.warning("certificate", file=str(self._settings.cert), trouble=trouble)
        return files, context


def _read(settings: TlsSection) -> _Files:
    cert, key = _content("cert", settings.cert), _content("key", settings.key)
    if _BEGIN_CERTIFICATE not in cert:
        raise InvalidRequest(f"tls cert {settings.cert}: expected a certificate in PEM, got none")
    if b"PRIVATE KEY-----" not in key:
        raise InvalidRequest(f"tls key {settings.key}: expected a private key in PEM, got none")
    if b"ENCRYPTED" in key:
        raise InvalidRequest(f"tls key {settings.key}: expected a key without a passphrase, got an encrypted one")
    if settings.client_ca is None:
        return _Files(cert, key, None)
    client_ca = _content("client_ca", settings.client_ca)
    if _BEGIN_CERTIFICATE not in client_ca:
        raise InvalidRequest(f"tls client_ca {settings.client_ca}: expected a certificate in PEM, got none")
    return _Files(cert, key, client_ca)


def _content(name: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read tls {name} {file}: {error.strerror}") from None


def _context(settings: TlsSection) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 8996 retires what is older. gRPC speaks nothing older either.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, settings)
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            raise InvalidRequest(f"cannot use tls client_ca {settings.client_ca}: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_chain(context: ssl.SSLContext, settings: TlsSection) -> None:
    try:
        context.load_cert_chain(settings.cert, settings.key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidRequest(f"tls key {settings.key} does not belong to tls cert {settings.cert}") from None
        reason = _reason(error)
        raise InvalidRequest(f"cannot use tls cert {settings.cert} and key {settings.key}: {reason}") from None


def _reason(error: ssl.SSLError) -> str:
    return error.reason.lower().replace("_", " ") if error.reason else "damaged PEM"


def _grpc_configuration(files: _Files) -> Any:
    return grpc.ssl_server_certificate_configuration([(files.key, files.cert)], files.client_ca)


def _dates_of(settings: TlsSection, chain: bytes, now: float) -> str | None:
    """What is wrong with the dates of the certificate; None if nothing is.

    The standard library tells the dates of certificates only to who has verified them: so this shakes hands with
    itself, in memory, trusting the very certificate that it shows.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_chain(server, settings)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    first = chain[chain.index(_BEGIN_CERTIFICATE) : chain.index(_END_CERTIFICATE) + len(_END_CERTIFICATE)]
    client.load_verify_locations(cadata=first.decode("ascii"))
    try:
        certificate = _shake_hands(client, server)
    except ssl.SSLCertVerificationError as error:
        # Whoever else does not like it will say so; clients have reasons of their own.
        return _DATES.get(error.verify_code)
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - now) / 86400
    return f"expires in {days:.1f} days" if days * 86400 < _SOON_S else None


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, Any]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours.getpeercert() or {}
