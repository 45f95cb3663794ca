"""The load generator's own parts: ranks, timers, frames, and what Linux tells of a process."""

from __future__ import annotations

import asyncio
import os
from unittest.mock import patch

import pytest

from streamer.cli.clips import Clip, read_clip, sample_clips
from streamer.cli.load import Load, percentiles_ms, play_load
from streamer.cli.process_stats import cpu_seconds, memory_mb
from streamer.cli.ticker import Ticker


def test_percentiles_by_nearest_rank() -> None:
    """Of the values 1 to 200 ms, 99 % do not exceed 198."""
    values = [index / 1000 for index in range(200, 0, -1)]
    assert percentiles_ms(values) == {"p50": 100.0, "p95": 190.0, "p99": 198.0, "max": 200.0}
    assert percentiles_ms([0.0421]) == {"p50": 42.1, "p95": 42.1, "p99": 42.1, "max": 42.1}
    assert percentiles_ms([]) is None


def test_ticker_shares_timers() -> None:
    """Sleepers of one grid interval wake together, never early; the past returns at once."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        ticker = Ticker(0.01)
        base = (loop.time() // 0.01 + 10) * 0.01
        woken: list[float] = []

        async def sleep(at: float) -> None:
            await ticker.until(at)
            woken.append(loop.time())

        with patch.object(loop, "call_at", wraps=loop.call_at) as set_timer:
            await asyncio.gather(sleep(base + 0.001), sleep(base + 0.009), sleep(base - 1))
        set_timer.assert_called_once()
        assert woken[0] < base
        assert min(woken[1:]) >= base + 0.009
        assert len(woken) == 3

    asyncio.run(run())


def test_ticker_forgets_cancelled_sleepers() -> None:
    """A sleeper that is cancelled does not disturb the others."""

    async def run() -> None:
        ticker = Ticker(0.01)
        at = asyncio.get_running_loop().time() + 0.01
        gone, stays = (asyncio.create_task(ticker.until(at)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(stays, 5)

    asyncio.run(run())


def test_clip_is_cut_into_equal_frames() -> None:
    """The rest is left out, unless there is nothing else."""
    clip = Clip("c", 1000, bytes(range(100)) * 4)
    assert [len(frame) for frame in clip.frames(30)] == [120, 120, 120]
    assert [len(frame) for frame in clip.frames(1000)] == [400]
    assert clip.duration_s == 0.1


def test_sample_clips_are_short_speech() -> None:
    """The clips of this repository: 16 kHz, 5 to 8 s, small."""
    paths = sample_clips()
    assert [path.name for path in paths] == ["ferry.flac", "honey.flac", "river.flac"]
    for path in paths:
        clip = read_clip(path)
        assert clip.rate == 16000
        assert 5 < clip.duration_s < 8
        assert path.stat().st_size < 200_000


def test_own_figures() -> None:
    """This process has used some time and some memory."""
    assert (cpu_seconds(os.getpid()) or 0) > 0
    memory = memory_mb(os.getpid())
    assert memory is not None
    assert 0 < memory[0] <= memory[1]


def test_no_such_process() -> None:
    """A process that is not there has no figures."""
    assert cpu_seconds(2**30) is None
    assert memory_mb(2**30) is None


@pytest.mark.parametrize("address", ["grpc://127.0.0.1:1", "ws://127.0.0.1:1"])
def test_no_server(address: str) -> None:
    """Without a server there are no figures but an error."""
    load = Load(address, (Clip("c", 16000, bytes(64000)),), 2, 0.1, 40.0, 0.0)
    with pytest.raises(ConnectionError, match=f"^no server at {address}: "):
        asyncio.run(play_load(load))
