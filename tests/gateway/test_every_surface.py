"""No surface lets in who shows nothing, something wrong or something old; all of them are found, none is listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus

from streamer.config import Settings
from streamer.gateway.access import Access
from streamer.gateway.grpc import GrpcServer
from streamer.gateway.http import create_app
from streamer.gateway.readiness import Readiness
from streamer.gateway.server import Addresses
from streamer.gateway.services import Services
from tests.gateway.fake_host import FakeHost
from tests.gateway.keyring import ADA, OLD, access_settings, bearer
from tests.gateway.serving import CONFIG_BYTES, CONFIG_TEXT, grpc_channel, serving, until_closed, websocket, with_loop

# Whether the server lives, how busy it is, and the page, which asks for a key itself.
OPEN_PATHS = {"/healthz", "/readyz", "/metrics", "/", "/page/{name}"}
OPEN_SERVICES = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "missing": ({}, "expected an API key, got none"),
    "other scheme": ({"authorization": f"Basic {ADA}"}, "expected an API key, got none"),
    "wrong": (bearer(ADA[:-1]), "unknown API key"),
    "expired": (bearer(OLD), "API key has expired"),
    "forged ticket": (bearer("t1.YWRh.YWRh"), "ticket is not valid"),
}


def routes(kind: type[Any]) -> Iterator[Any]:
    services = Services(FakeHost(), Settings(), Access(), Readiness(FakeHost()))  # type: ignore[arg-type]
    return (route for route in create_app(services).routes if isinstance(route, kind) and route.path not in OPEN_PATHS)


REQUESTS = [(method, route.path) for route in routes(Route) for method in sorted(route.methods - {"HEAD"})]
WEBSOCKETS = [route.path for route in routes(WebSocketRoute)]


def test_there_are_surfaces() -> None:
    """The tests below would pass on an empty list."""
    assert {("GET", "/v1/models"), ("POST", "/v1/tickets")} <= set(REQUESTS)
    assert "/v1/stream" in WEBSOCKETS


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@with_loop
async def test_http_requests(method: str, path: str) -> None:
    """401 with `WWW-Authenticate`, the reason, and nothing of what was shown or of what would have been known."""
    async with serving(FakeHost(), access=access_settings()) as addresses:
        url = f"http://127.0.0.1:{addresses.http_port}{path}"
        async with httpx.AsyncClient(trust_env=False) as client:
            for headers, message in WRONG.values():
                answer = await client.request(method, url, headers=headers)
                assert answer.status_code == 401, answer.text
                assert answer.headers["www-authenticate"] == "Bearer"
                assert message in answer.text or "expected an API key, got a ticket" in answer.text
                # Within an identifier these letters mean nothing.
                assert not re.search(r"\bada\b", answer.text)
                assert "retry-after" not in answer.headers


@pytest.mark.parametrize("path", WEBSOCKETS)
@with_loop
async def test_websockets(path: str) -> None:
    """Close code 4401 after the reason, or a refused upgrade; no stream is begun."""
    host = FakeHost()
    async with serving(host, access=access_settings()) as addresses:
        for headers, message in WRONG.values():
            assert await websocket_refusal(addresses, path, additional_headers=headers) == message
        for protocol in ("streamer.ticket.t1.YWRh.YWRh", "openai-insecure-api-key.streamer_guess"):
            assert await websocket_refusal(addresses, path, subprotocols=["streamer.v1", protocol]) in (
                "ticket is not valid",
                "unknown API key",
            )
        origin = await websocket_refusal(
            addresses, path, additional_headers=bearer(ADA), origin="https://there.example"
        )
        assert origin == "pages of 'https://there.example' may not use this server"
    assert host.streams == []


async def websocket_refusal(addresses: Addresses, path: str, **options: Any) -> str:
    """The reason that a client is given."""
    try:
        async with websocket(addresses, path=path, **options) as connection:
            frames, code, _ = await until_closed(connection)
    except InvalidStatus as refused:
        frames, code = [(refused.response.body or b"").decode()], 4000 + refused.response.status_code
    assert code in (4401, 4403), frames
    known = {message for _, message in WRONG.values()} | {
        "pages of 'https://there.example' may not use this server",
    }
    (told,) = [message for message in known if message in frames[-1]]
    return told


def methods_of_servers(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All methods of all services that a gRPC server is given, but the open ones."""
    found: set[str] = set()
    kind = type(grpc.aio.server())
    real = kind.add_generic_rpc_handlers

    def add(server: Any, handlers: Any) -> None:
        found.update(name for handler in handlers for name in handler._method_handlers)
        real(server, handlers)

    monkeypatch.setattr(kind, "add_generic_rpc_handlers", add)
    GrpcServer(Services(FakeHost(), Settings(), Access(), Readiness(FakeHost())))  # type: ignore[arg-type]
    return {name for name in found if name.split("/")[1] not in OPEN_SERVICES}


@with_loop
async def test_grpc_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """UNAUTHENTICATED with the reason on every method of every service, whatever its form; no stream is begun."""
    host = FakeHost()
    async with serving(host, access=access_settings()) as addresses:
        methods = methods_of_servers(monkeypatch)
        assert {"/streamer.v1.Speech/StreamingRecognize", "/streamer.v1.Models/ListModels"} <= methods
        assert {f"/streamer.v1.Codec/{name}" for name in ("Encode", "Decode", "Transcode")} <= methods
        async with grpc_channel(addresses) as channel:
            for method in sorted(methods):
                for headers, message in WRONG.values():
                    call = channel.stream_stream(method)(metadata=tuple(headers.items()))
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await ended(call)
                    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAUTHENTICATED, message)
    assert host.streams == []


async def ended(call: Any) -> None:
    # The empty message: methods of one request wait for it.
    await call.write(b"")
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:
        pass


@with_loop
async def test_a_key_opens_every_transport() -> None:
    """The same key is good in a header, in metadata and as a ticket in a subprotocol or a query, the ticket once."""
    host = FakeHost()
    async with serving(host, access=access_settings()) as addresses:
        async with grpc_channel(addresses) as channel:
            call = channel.stream_stream("/streamer.v1.Speech/StreamingRecognize")(metadata=tuple(bearer(ADA).items()))
            await call.write(CONFIG_BYTES)
            assert await call.read() is not grpc.aio.EOF
        tickets = [await ticket(addresses) for _ in range(2)]
        for options in (
            {"additional_headers": bearer(ADA)},
            {"subprotocols": ["streamer.v1", f"streamer.ticket.{tickets[0]}"]},
            {"path": f"/v1/stream?ticket={tickets[1]}"},
        ):
            async with websocket(addresses, CONFIG_TEXT, **options) as connection:
                assert '"type":"ready"' in await connection.recv(decode=True)
                assert connection.subprotocol in (None, "streamer.v1")
        for used in tickets:
            async with websocket(addresses, subprotocols=["streamer.v1", f"streamer.ticket.{used}"]) as connection:
                frames, code, reason = await until_closed(connection)
            assert ("ticket was used before" in frames[0], code, reason) == (True, 4401, "unauthenticated")
    assert [caller.name for caller in host.callers] == ["ada"] * 4


async def ticket(addresses: Addresses) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{addresses.http_port}/v1/tickets", headers=bearer(ADA))
    assert answer.headers["cache-control"] == "no-store"
    values = answer.json()
    assert values["expires_in_s"] == 60
    return str(values["ticket"])


@with_loop
async def test_the_browser_may_ask_from_the_sites_of_the_settings() -> None:
    """A page of a site that is listed gets the answers that browsers look for; no other site does."""
    access = access_settings(origins=("https://there.example",))
    async with serving(FakeHost(), access=access) as addresses, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{addresses.http_port}/v1/models"
        asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
        for origin, status in (("https://there.example", 200), ("https://elsewhere.example", 400)):
            preflight = await client.options(url, headers={"origin": origin, **asked})
            assert preflight.status_code == status
        answer = await client.get(url, headers={"origin": "https://there.example", **bearer(ADA)})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://there.example")
