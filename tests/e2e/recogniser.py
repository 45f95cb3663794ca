"""The shipped recogniser behind a gateway, clips to send to it, and what the command line hears in them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from streamer.cli.main import app
from streamer.config import Settings
from streamer.gateway.server import Addresses, Gateway
from streamer.host import Host
from streamer.host.assemble import running_host

CLIPS = sorted((Path(__file__).resolve().parents[1] / "samples").glob("*.flac"))


@dataclass(frozen=True)
class Running:
    """A server under test."""

    host: Host
    addresses: Addresses

    @property
    def base_url(self) -> str:
        return f"http://{self.addresses.host}:{self.addresses.http_port}/v1"


@asynccontextmanager
async def recogniser(max_streams: int = 8, **settings: Any) -> AsyncIterator[Running]:
    """Serve asr-en alone, unless `settings` say otherwise, with one worker."""
    engine = {"workers": 1, "max_streams": max_streams}
    chosen = Settings(**{"grpc_port": 0, "http_port": 0, "engine": engine, "models": ["asr-en"], **settings})
    async with running_host(chosen) as host:
        gateway = Gateway(host, chosen)
        try:
            yield Running(host, await gateway.start())
        finally:
            await gateway.stop()


@cache
def command_line(path: Path, *options: str) -> str:
    """What `streamer transcribe` writes of a file; it is asked once."""
    command = ["transcribe", str(path), "--quiet", "--workers", "1", "--model", "asr-en", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return result.stdout


def heard(path: Path) -> dict[str, Any]:
    """What it hears, as JSON."""
    plain: dict[str, Any] = json.loads(command_line(path, "--format", "json"))
    return plain
