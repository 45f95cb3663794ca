"""What clients say does not get into the log as lines, colours or controls of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import structlog
from websockets.exceptions import ConnectionClosed

from streamer.cli.logs import configure_logging
from tests.e2e.serving import Served, serving
from tests.gateway.keyring import access_settings
from tests.gateway.serving import until_closed, websocket, with_loop

FORGED = '\n{"event": "forged"}\r\x1b[31mforged\x1b[0m\u2028\u202eforged\x00'
CONFIG = {"type": "config", "encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1}


async def say_it_everywhere(served: Served) -> None:
    """Put it wherever a client may put text."""
    at = f"http://{served.addresses.host}:{served.addresses.http_port}"
    raw = FORGED.replace("\n", "").replace("\r", "").replace("\x00", "").encode()
    async with httpx.AsyncClient(trust_env=False) as client:
        for headers in ({b"authorization": b"Bearer " + raw}, {b"origin": b"http://" + raw}, {b"traceparent": raw}):
            await client.get(f"{at}/v1/models", headers=headers)
        await client.get(f"{at}/page/{quote(FORGED)}")
        await client.get(f"{at}/v1/models?ticket={quote(FORGED)}")
        fields = {"model": FORGED, FORGED: FORGED}
        await client.post(f"{at}/v1/audio/transcriptions", data=fields, files={"file": (FORGED, b"RIFF")})
        await client.post(f"{at}/v1/listen?model={quote(FORGED)}", content=b"x")
    for name in ("model", "language", "task"):
        async with websocket(served.addresses) as connection:
            with contextlib.suppress(ConnectionClosed):
                await connection.send(json.dumps({**CONFIG, name: FORGED}))
            await until_closed(connection)
    reader, writer = await asyncio.open_connection(served.addresses.host, served.addresses.wyoming_port)
    writer.write(json.dumps({"type": "select-program", "data": {"name": FORGED}}).encode() + b"\n")
    await reader.read()
    writer.close()


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("for_people", [False, True], ids=["json", "console"])
@pytest.mark.parametrize("with_keys", [False, True], ids=["open", "keys"])
def test_no_line_is_forged(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    for_people: bool,
    with_keys: bool,
) -> None:
    """Lines for machines are one object each, lines for people hold no controls of a client."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: for_people)
    configure_logging("info")

    @with_loop
    async def run() -> None:
        access = {"access": access_settings()} if with_keys else {}
        async with serving(tmp_path, "websocket", wyoming_port=0, **access) as served:
            await say_it_everywhere(served)

    run()
    structlog.get_logger().info("told", reason=FORGED)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    if for_people:
        assert not [line for line in lines if "\x1b[31mforged" in line or line.startswith(("forged", '{"event"'))]
    else:
        assert all(json.loads(line)["event"] != "forged" for line in lines)
