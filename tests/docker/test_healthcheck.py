"""The health check of the images, run as they run it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import serving, with_loop
from tests.ports import free_port

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "healthcheck.py"


async def check(port: int) -> tuple[int, str]:
    """Exit status and output."""
    environment = {**os.environ, "STREAMER_HTTP_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), stdout=asyncio.subprocess.PIPE, env=environment
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("ready", "expected"), [(True, (0, "ready\n")), (False, (1, "not ready: models are not ready\n"))]
)
def test_follows_readiness(ready: bool, expected: tuple[int, str]) -> None:
    """A server that would not take a stream is unhealthy, and the check says why."""

    @with_loop
    async def run() -> None:
        host = FakeHost()
        host.ready = ready
        async with serving(host) as addresses:
            assert await check(addresses.http_port) == expected

    run()


@with_loop
async def test_no_server_is_unhealthy() -> None:
    """Where nobody listens the status is 1."""
    status, output = await check(free_port())
    assert status == 1
    assert output.startswith("no answer: ")
