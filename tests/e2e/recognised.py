"""The shipped recogniser behind a gateway, and what the command line hears in the sample clips."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from streamer.cli.main import app
from streamer.config import EngineSection, Settings
from streamer.gateway.server import Addresses, Gateway
from streamer.host import Host
from streamer.host.assemble import running_host

SAMPLES = sorted((Path(__file__).resolve().parents[1] / "samples").glob("*.flac"))
RATE = 16_000
# Each takes its time to start: only tests of what a server offers, and of what it refuses, have all of them.
SHIPPED = Settings().models


@pytest.fixture(scope="session")
def batch_texts() -> dict[str, str]:
    """What `streamer transcribe` hears in each sample clip, by the name without the suffix."""
    return _texts_of(SAMPLES)


async def texts_of(*files: Path) -> dict[str, str]:
    """What `streamer transcribe` hears in each of `files`, by the name without the suffix."""
    # The command has an event loop of its own.
    return await asyncio.to_thread(_texts_of, files)


def _texts_of(files: Sequence[Path]) -> dict[str, str]:
    names = [str(path) for path in files]
    options = ("--model", "asr-en", "--format", "jsonl", "--quiet", "--workers", "1")
    result = CliRunner().invoke(app, ["transcribe", *names, *options])
    assert result.exit_code == 0, result.output
    texts = {Path(line["file"]).stem: line["text"] for line in map(json.loads, result.stdout.splitlines())}
    assert len(texts) == len(files)
    assert all(texts.values())
    return texts


def clip(name: str) -> bytes:
    """16-bit PCM of the clip `name` at `RATE`."""
    path = next(path for path in SAMPLES if path.stem == name)
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    return np.asarray(samples, "<i2").tobytes()


@asynccontextmanager
async def serving_recogniser(**settings: Any) -> AsyncIterator[tuple[Host, Addresses]]:
    """Serve asr-en alone, unless `settings` say otherwise, with one worker on free ports."""
    engine = EngineSection(workers=1, max_streams=8)
    chosen = Settings(**{"grpc_port": 0, "http_port": 0, "engine": engine, "models": ("asr-en",), **settings})
    async with running_host(chosen) as host:
        gateway = Gateway(host, chosen)
        try:
            yield host, await gateway.start()
        finally:
            await gateway.stop()
