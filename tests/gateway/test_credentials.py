"""Credentials are found wherever a dialect puts them."""

from __future__ import annotations

import pytest

from streamer.gateway.credentials import (
    address_of,
    http_credential,
    key_of,
    metadata_credential,
    network_of,
    peer_address,
    websocket_credential,
)
from tests.gateway.keyring import bearer, request


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Token abc", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("abc", None),
        ("", None),
    ],
)
def test_authorization_header(header: str, key: str | None) -> None:
    """Two schemes, in any case; anything else shows nothing."""
    assert key_of(header) == key
    assert metadata_credential({"authorization": header}) == key


@pytest.mark.parametrize(
    ("connection", "credential"),
    [
        (request(bearer("k")), "k"),
        (request(query="ticket=t1.a.b"), "t1.a.b"),
        (request(subprotocols=("streamer.v1", "streamer.ticket.t1.a.b")), "t1.a.b"),
        (request(subprotocols=("realtime", "openai-insecure-api-key.k")), "k"),
        (request(subprotocols=("token", "k")), "k"),
        (request(subprotocols=("streamer.v1", "Bearer", "k")), "k"),
        (request(bearer("k"), "ticket=t1.a", ("streamer.ticket.t1.b",)), "k"),
        (request(query="ticket=streamer_key"), "t1."),
        (request(subprotocols=("streamer.v1", "streamer.ticket.streamer_key")), "t1."),
        (request(), None),
        (request(query="ticket="), None),
        (request(subprotocols=("streamer.ticket.", "token")), None),
    ],
)
def test_websocket_credential(connection, credential) -> None:  # type: ignore[no-untyped-def]
    """The header comes first, then the query, then the subprotocols of each dialect; a key is no ticket."""
    assert websocket_credential(connection) == credential


def test_http_requests_have_no_subprotocols() -> None:
    """A subprotocol is for upgrades only."""
    assert http_credential(request(subprotocols=("token", "k"))) is None


def test_metadata_of_bytes_is_no_key() -> None:
    """Binary metadata of that name shows nothing."""
    assert metadata_credential({"authorization": b"Bearer k"}) is None


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:50000", "127.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:50000", "2001:db8:1:2::/64"),
        ("ipv6:[::1]:50000", "::/64"),
        ("unix:/run/socket", ""),
        ("", ""),
    ],
)
def test_peer_address(peer: str, address: str) -> None:
    """gRPC's names of peers hold family, address and port."""
    assert peer_address(peer) == address


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", ""),
    ],
)
def test_one_client_one_network(address: str, network: str) -> None:
    """A client of IPv6 owns 64 bits of addresses and cannot multiply by using them."""
    assert network_of(address) == network


def test_address_of() -> None:
    """A connection without an address, over a Unix socket, has an empty one."""
    assert address_of(request()) == "192.0.2.7"
    assert address_of(request(client=None)) == ""
