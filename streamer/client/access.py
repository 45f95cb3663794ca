"""How a client proves who it is, and whom it trusts: the API key and TLS, the same for both transports."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from streamer.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates for `wss://` and `grpcs://`, all PEM files.

    `ca_file` replaces the certificate authorities of the system. `cert_file` and `key_file` show the server who the
    client is (mutual TLS).
    """

    ca_file: str | Path | None = None
    cert_file: str | Path | None = None
    key_file: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise InvalidRequest("tls: expected cert_file and key_file together, got one of them")


@dataclass(frozen=True, slots=True)
class Access:
    """What a transport needs to be let in. The key is sent as `Authorization: Bearer KEY` and never shown."""

    api_key: str | None = field(default=None, repr=False)
    tls: Tls = field(default_factory=Tls)

    def __post_init__(self) -> None:
        key = self.api_key
        if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
            raise InvalidRequest("api_key: expected visible ASCII characters without spaces")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an HTTP request."""
        return dict(self.metadata)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a gRPC call."""
        return () if self.api_key is None else (("authorization", f"Bearer {self.api_key}"),)

    def ssl_context(self) -> ssl.SSLContext:
        """Return the context of HTTP and WebSocket connections; raises `InvalidRequest` for files that do not load."""
        try:
            context = ssl.create_default_context(cafile=self.tls.ca_file)
            if self.tls.cert_file is not None and self.tls.key_file is not None:
                context.load_cert_chain(self.tls.cert_file, self.tls.key_file)
        except OSError as error:
            raise InvalidRequest(f"tls: cannot load the certificates: {error}") from None
        return context

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a gRPC channel; raises `InvalidRequest` for files that are not there."""
        try:
            return grpc.ssl_channel_credentials(
                root_certificates=_content(self.tls.ca_file),
                private_key=_content(self.tls.key_file),
                certificate_chain=_content(self.tls.cert_file),
            )
        except OSError as error:
            raise InvalidRequest(f"tls: cannot load the certificates: {error}") from None


ANYBODY = Access()


def _content(file: str | Path | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
