"""Where requests carry their credential, in every dialect, and where they come from."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

from starlette.requests import HTTPConnection

from streamer.gateway.tickets import PREFIX

_SCHEMES = ("bearer", "token")
# Browsers let pages set no header of a WebSocket but the subprotocols: ours, and that of OpenAI's Realtime clients.
_TICKET_CARRIER = "streamer.ticket."
_KEY_CARRIER = "openai-insecure-api-key."


def key_of(authorization: str) -> str | None:
    """Return the key of a header `Authorization: Bearer KEY` (or `Token KEY`); None if there is none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() in _SCHEMES and key.strip() else None


def http_credential(connection: HTTPConnection) -> str | None:
    """Return the key that an HTTP request shows, or its ticket (`?ticket=`); None if there is none."""
    return key_of(connection.headers.get("authorization", "")) or _ticket(connection.query_params.get("ticket", ""))


def websocket_credential(connection: HTTPConnection) -> str | None:
    """Return the credential of a WebSocket's upgrade request; None if there is none.

    Besides those of HTTP requests: a subprotocol `streamer.ticket.TICKET` or `openai-insecure-api-key.KEY`, or the
    pair of subprotocols `token, KEY` of Deepgram's clients in browsers.
    """
    return http_credential(connection) or _of_subprotocols(connection.scope.get("subprotocols", ()))


def metadata_credential(metadata: Mapping[str, Any]) -> str | None:
    """Return the key in gRPC metadata, `authorization: Bearer KEY`; None if there is none."""
    value = metadata.get("authorization", "")
    return key_of(value) if isinstance(value, str) else None


def _of_subprotocols(offered: Sequence[str]) -> str | None:
    for protocol in offered:
        if protocol.startswith(_TICKET_CARRIER):
            return _ticket(protocol.removeprefix(_TICKET_CARRIER))
        if protocol.startswith(_KEY_CARRIER):
            return protocol.removeprefix(_KEY_CARRIER) or None
    for scheme, key in pairwise(offered):
        if scheme.lower() in _SCHEMES:
            return key
    return None


def _ticket(shown: str) -> str | None:
    """A key is no ticket: URLs end in logs, so what is taken from them must be good for one use only."""
    if not shown:
        return None
    return shown if shown.startswith(PREFIX) else PREFIX


def address_of(connection: HTTPConnection) -> str:
    """Return the address of a client over HTTP; empty if it has none."""
    return network_of(connection.client.host) if connection.client else ""


def peer_address(peer: str) -> str:
    """Return the address in what gRPC calls a peer: `ipv4:127.0.0.1:50000`, `ipv6:%5B::1%5D:50000`."""
    family, _, rest = unquote(peer).partition(":")
    return network_of(rest.rpartition(":")[0].strip("[]")) if family in ("ipv4", "ipv6") else ""


def network_of(address: str) -> str:
    """Return what one client can speak from: an IPv4 address, or the network of 64 bits around an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
