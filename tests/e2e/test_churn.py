"""Clients of every surface that come, begin and vanish, thousands of times: nothing of them stays in memory."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from streamer.gateway import connections
from streamer.gateway.riva import messages as riva
from tests.e2e.attacked import alarms
from tests.e2e.foreign_nonsense import Frames, Request
from tests.e2e.serving import Served, serving
from tests.e2e.test_foreign_fuzz import over_http, over_riva, over_websocket, over_wyoming
from tests.e2e.test_streams import audio
from tests.gateway.serving import CONFIG_TEXT, with_loop_for
from tests.toys import write_listener

AT_ONCE = 20
WARM_UP, CYCLES = 400, 2000
# What allocators, caches of names and histograms may take on top; one lost stream per cycle would be megabytes.
MOST_BYTES_PER_CYCLE = 150

PCM = audio(0.2, 1).tobytes()
EVENT = {"rate": 16000, "width": 2, "channels": 1}
HEAD = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF'
RIVA = riva.StreamingRecognizeRequest(streaming_config={"config": {"encoding": 1, "sample_rate_hertz": 16000}})
RIVA_AUDIO = riva.StreamingRecognizeRequest(audio_content=PCM)

SURFACES: dict[str, tuple[Callable[[Served, object], Awaitable[None]], object]] = {
    "own": (over_websocket, Frames("/v1/stream", (CONFIG_TEXT, PCM), True)),
    "realtime": (
        over_websocket,
        Frames("/v1/realtime", ('{"type":"input_audio_buffer.append","audio":"AAAA"}',), True),
    ),
    "vosk": (over_websocket, Frames("/vosk", ('{"config":{"sample_rate":16000}}', PCM), True)),
    "deepgram": (over_websocket, Frames("/v1/listen?encoding=linear16&sample_rate=16000", (PCM,), True)),
    "wyoming": (
        over_wyoming,
        Frames("", (json.dumps({"type": "audio-start", "data": EVENT}).encode() + b"\n",), True),
    ),
    "uploads": (over_http, Request((HEAD + b"Content-Length: 9999\r\n\r\n" + PART,), "hangs up")),
    "files": (
        over_http,
        Request((b"POST /v1/listen HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nRIFF",), "hangs up"),
    ),
    "riva": (over_riva, Frames("StreamingRecognize", (RIVA.SerializeToString(), RIVA_AUDIO.SerializeToString()), True)),
}


@pytest.mark.soak
@pytest.mark.parametrize(("one", "case"), SURFACES.values(), ids=SURFACES)
@with_loop_for(600)
async def test_nothing_of_them_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: Callable[..., Awaitable[None]], case: object
) -> None:
    """2,000 cycles after the first 400; prints bytes per cycle."""
    # A connection is kept for so long after its end, and is no leak.
    monkeypatch.setattr(connections, "LINGER_S", 0.01)
    options = {"wyoming_port": 0, "also": write_listener}
    async with serving(tmp_path, "websocket", max_streams=2 * AT_ONCE, **options) as served:
        with alarms() as heard:
            await cycles(served, one, case, WARM_UP)
            tracemalloc.start()
            try:
                await cycles(served, one, case, AT_ONCE)
                before = traced()
                await cycles(served, one, case, CYCLES)
                grown = (traced() - before) / CYCLES
            finally:
                tracemalloc.stop()
        assert heard == []
        assert served.host.open_streams == 0
    print(f"{type(case).__name__} {getattr(case, 'path', '')}: {grown:.0f} bytes per cycle")  # noqa: T201
    assert grown < MOST_BYTES_PER_CYCLE


async def cycles(served: Served, one: Callable[..., Awaitable[None]], case: object, count: int) -> None:
    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(one(served, case) for _ in range(AT_ONCE)))
    await served.host.until_empty()
    await asyncio.sleep(0.1)


def traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
