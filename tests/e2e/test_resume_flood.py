"""One resume token in many hands at once: the stream goes on over one connection, the others are told so."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from tests.e2e.attacked import alarms
from tests.e2e.serving import serving
from tests.e2e.test_streams import audio, expected_text
from tests.gateway.serving import websocket, with_loop

CONFIG = {"type": "config", "encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1, "mode": "file"}
RESUMABLE = {**CONFIG, "resumable": True, "endpointing": {"enabled": False}}
HANDS = 50


@with_loop
async def test_a_token_used_by_fifty_at_once(tmp_path: Path) -> None:
    """All but one end as superseded, none as a fault; the last one says what the stream says alone; no slot is left."""
    pcm = audio(0.5, 4)
    async with serving(tmp_path, "websocket", max_streams=HANDS + 1) as served:
        with alarms() as heard:
            async with websocket(served.addresses, json.dumps(RESUMABLE)) as first:
                token = json.loads(await first.recv())["resume_token"]
                await first.send(pcm.tobytes()[:3200])
                resumed = json.dumps({**RESUMABLE, "resume": {"token": token, "next_segment": 0}})

                async def take_up() -> tuple[int | None, str]:
                    async with websocket(served.addresses) as connection:
                        text = ""
                        try:
                            await connection.send(resumed)
                            while True:
                                said = json.loads(await connection.recv())
                                text = said["text"] if said["type"] == "result" else text
                                if said["type"] == "ready":
                                    await connection.send(pcm.tobytes()[2 * said["next_sample"] :])
                                    await connection.send('{"type":"end"}')
                        except ConnectionClosed:
                            return connection.close_code, text

                ended = await asyncio.gather(*(take_up() for _ in range(HANDS)))
            assert heard == []
        counts = Counter(code for code, _ in ended)
        assert set(counts) <= {1000, 4409}
        assert counts[1000] >= 1
        assert {text for code, text in ended if code == 1000} == {expected_text(pcm)}
        await served.host.until_empty()
        assert served.host.workers[0].used_slots("counter-asr@1.0.0") == 0
        assert b'outcome="internal"' not in served.host.metrics_text()
