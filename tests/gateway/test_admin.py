"""The admin port, and who may read metrics where."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from streamer.config import AccessSection, Settings
from streamer.errors import InvalidRequest
from streamer.gateway.access import Access
from streamer.gateway.admin import create_admin_app
from streamer.gateway.commands import model_commands
from streamer.gateway.keys import digest
from streamer.gateway.readiness import Readiness
from streamer.gateway.server import Addresses
from streamer.gateway.services import Services
from tests.e2e.attacked import alarms
from tests.gateway.fake_host import FakeHost
from tests.gateway.keyring import ADA, OLD, ROOT, access_settings, bearer
from tests.gateway.serving import gateway_of, get, serving, with_loop

METRICS = 'streamer_open_streams 0.0\nstreamer_key_open_streams{key="ada"} 0.0\n'


@asynccontextmanager
async def client_of(addresses: Addresses) -> AsyncIterator[httpx.AsyncClient]:
    url = f"http://127.0.0.1:{addresses.admin_port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


@with_loop
async def test_there_is_no_admin_port_unless_it_is_asked_for() -> None:
    """Unset, nothing listens."""
    async with serving(FakeHost()) as addresses:
        assert addresses.admin_port is None


@with_loop
async def test_metrics_and_life_on_the_admin_port() -> None:
    """Whoever reaches the port may read; what serves clients is not there."""
    async with serving(FakeHost(), admin_port=0, access=access_settings()) as addresses, client_of(addresses) as client:
        assert (await client.get("/metrics")).text == METRICS
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/v1/models")).status_code == 404
        assert (await client.get("/v1/keys/reload")).status_code == 405


@with_loop
async def test_commands_of_the_admin_port(tmp_path: Path) -> None:
    """Keys are read again for an admin key only; everybody else is refused as on every surface."""
    file = tmp_path / "keys.toml"
    file.write_text(f"[[keys]]\nname = 'eve'\nhash = '{digest('eve')}'\n")
    access = access_settings(keys_file=file)
    async with serving(FakeHost(), admin_port=0, access=access) as addresses, client_of(addresses) as client:
        told = {key: await client.post("/v1/keys/reload", headers=bearer(key)) for key in ("nobody", OLD, ADA, ROOT)}
        assert [answer.status_code for answer in told.values()] == [401, 401, 403, 200]
        assert told[ADA].json() == {
            "type": "error",
            "code": "permission_denied",
            "message": "expected a key with admin rights",
        }
        assert told[ROOT].json() == {"keys": ["ada", "bob", "root", "old", "eve"]}
        file.write_text("[[keys]")
        broken = await client.post("/v1/keys/reload", headers=bearer(ROOT))
        assert (broken.status_code, broken.json()["code"]) == (400, "invalid_request")


COMMANDS = ["/v1/keys/reload", "/v1/models/load", "/v1/models/unload", "/v1/models/reload"]


@pytest.mark.parametrize("path", COMMANDS)
@with_loop
async def test_every_command_asks_for_an_admin(path: str) -> None:
    """No command is given without the right to it, whatever it carries; nor from the ports that clients reach."""
    access = access_settings()
    async with serving(FakeHost(), admin_port=0, access=access) as addresses, client_of(addresses) as client:
        told = [(await client.post(path, headers=headers)).status_code for headers in ({}, bearer(OLD), bearer(ADA))]
        assert told == [401, 401, 403]
        elsewhere = f"http://127.0.0.1:{addresses.http_port}{path}"
        assert (await client.post(elsewhere, headers=bearer(ROOT))).status_code in (404, 405)


@with_loop
async def test_all_commands_are_tried() -> None:
    """A command that the test above does not know fails here."""
    services = Services(FakeHost(), Settings(), Access(), Readiness(FakeHost()))  # type: ignore[arg-type]
    app = create_admin_app(services, model_commands(services))
    assert [route.path for route in app.routes if "POST" in route.methods] == COMMANDS  # type: ignore[attr-defined]


@with_loop
async def test_a_page_of_another_site_gives_no_commands() -> None:
    """A browser on the same machine reaches loopback; pages that it shows must not."""
    async with serving(FakeHost(), admin_port=0) as addresses, client_of(addresses) as client:
        answer = await client.post("/v1/keys/reload", headers={"origin": "https://there.example"})
        assert (answer.status_code, answer.json()["message"]) == (
            403,
            "pages of 'https://there.example' may not use this server",
        )
        assert (await client.post("/v1/keys/reload")).json() == {"keys": []}


@pytest.mark.parametrize(
    ("metrics", "statuses"),
    [("open", [200, 200, 200]), ("admin_key", [401, 403, 200]), ("admin_port", [404, 404, 404])],
)
@with_loop
async def test_who_may_read_metrics_on_the_http_port(metrics: Any, statuses: list[int]) -> None:
    """All, admins, or nobody; health and readiness stay open in any case."""
    async with (
        serving(FakeHost(), admin_port=0, access=access_settings(metrics=metrics)) as addresses,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{addresses.http_port}", trust_env=False) as client,
    ):
        answers = [await client.get("/metrics", headers=headers) for headers in ({}, bearer(ADA), bearer(ROOT))]
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
    assert [answer.status_code for answer in answers] == statuses
    # The names of keys are for admins, not for everybody who comes by.
    assert ['key="ada"' in answer.text for answer in answers] == [False, False, metrics == "admin_key"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"admin_port": 0, "admin_host": "0.0.0.0"},
            "setting admin_host: expected a loopback address or a key with admin = true, got '0.0.0.0'",
        ),
        (
            {"access": AccessSection(metrics="admin_port")},
            "setting admin_port: expected a port for access.metrics = 'admin_port', got none",
        ),
    ],
)
def test_settings_that_expose_or_hide_too_much(settings: dict[str, Any], message: str) -> None:
    """Commands are never open to a network, and metrics are never nowhere by mistake."""

    @with_loop
    async def start() -> None:
        gateway_of(FakeHost(), **settings)

    with pytest.raises(InvalidRequest) as caught:
        start()
    assert str(caught.value) == message


@with_loop
async def test_an_admin_key_opens_the_admin_port_to_a_network() -> None:
    """With one, the port may listen anywhere."""
    gateway = gateway_of(FakeHost(), admin_host="0.0.0.0", admin_port=0, access=access_settings())
    await gateway.stop()


@pytest.mark.parametrize(
    ("host", "access", "warned"),
    [
        ("127.0.0.1", AccessSection(), False),
        ("0.0.0.0", AccessSection(), True),
        ("0.0.0.0", access_settings(), False),
    ],
)
@with_loop
async def test_an_open_server_on_a_network_is_warned_of(host: str, access: AccessSection, warned: bool) -> None:
    """Without keys and beyond loopback, the log says at start that everybody may stream."""
    gateway = gateway_of(FakeHost(), access=access)
    with structlog.testing.capture_logs() as events:
        # No test listens beyond loopback.
        gateway._log_start(Addresses(host, 50051, 8080))
    await gateway.stop()
    warnings = [event["event"] for event in events if event["log_level"] == "warning"]
    assert warnings == ["everybody who reaches this address may stream, no keys are set"] * warned


@with_loop
async def test_a_taken_admin_port_leaves_nothing_open() -> None:
    """Binding fails at once and says where; the ports before it are closed again."""
    async with serving(FakeHost(), admin_port=0) as addresses:
        failing = gateway_of(FakeHost(), admin_port=addresses.admin_port)
        with pytest.raises(OSError, match=f"^cannot bind http to 127.0.0.1:{addresses.admin_port}: Address already in"):
            await failing.start()


@with_loop
async def test_hangup_reloads_keys(tmp_path: Path) -> None:
    """At SIGHUP new keys are let in and old ones are not, while the server goes on."""
    file = tmp_path / "keys.toml"
    file.write_text(f"[[keys]]\nname = 'eve'\nhash = '{digest('eve')}'\n")
    started = asyncio.get_running_loop().create_future()
    gateway = gateway_of(FakeHost(), access=AccessSection(keys_file=file))
    running = asyncio.create_task(gateway.run(started.set_result))
    addresses = await started
    assert (await get(addresses, "/v1/models")).status_code == 401
    file.write_text(f"[[keys]]\nname = 'mallory'\nhash = '{digest('mallory')}'\n")
    os.kill(os.getpid(), signal.SIGHUP)
    while gateway._access.key_names != ["mallory"]:  # noqa: ASYNC110 - nothing tells when a signal has been handled
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    await running


@with_loop
async def test_a_client_that_goes_while_it_gives_a_command_is_no_fault() -> None:
    """It is logged neither as an error nor with a traceback."""
    async with serving(FakeHost(), admin_port=0) as addresses:
        with alarms() as heard:
            reader, writer = await asyncio.open_connection("127.0.0.1", addresses.admin_port)
            head = b"POST /v1/models/load HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n"
            writer.write(head + b"Expect: 100-continue\r\n\r\n")
            # Only who reads the body sends this.
            assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"half")
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        assert heard == []
