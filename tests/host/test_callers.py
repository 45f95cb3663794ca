"""What the host grants each caller, with the toy recogniser."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from streamer.bundle.loader import load_bundle
from streamer.config import AccessSection, Settings
from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.errors import Overloaded, QuotaExceeded
from streamer.host import Host
from streamer.host.callers import Caller
from streamer.session.messages import Audio, Done, End
from tests.clock import Clock
from tests.gateway.serving import with_loop
from tests.host.test_host import CONFIG, rest
from tests.toys import write_counter_asr


def host_of(folder: Path, clock: Clock | None = None, **access: Any) -> Host:
    bundle = load_bundle(write_counter_asr(folder))
    registry = CollectorRegistry()
    engine = Engine([bundle], EngineSettings(workers=1, max_streams=8), registry=registry)
    settings = Settings(access=AccessSection(**access))
    return Host(engine, [bundle], settings, registry, **({"clock": clock} if clock else {}))


async def finish(stream: Any) -> None:
    await stream.send(CONFIG)
    await stream.send(End())
    await rest(stream)


@with_loop
async def test_a_key_is_held_to_its_streams_and_others_are_not(tmp_path: Path) -> None:
    """A stream counts from connecting until it has ended, whether it was finished or aborted."""
    ada, bob = Caller("ada", max_streams=1), Caller("bob", max_streams=1)
    host = host_of(tmp_path)
    await host.start()
    try:
        for end in (finish, lambda stream: stream.abort()):
            stream = host.connect(ada)
            with pytest.raises(QuotaExceeded, match=r"^expected at most 1 open streams at a time, got one more$"):
                host.connect(ada)
            await finish(host.connect(bob))
            ending = end(stream)
            if ending is not None:
                await ending
            await host.until_empty()
    finally:
        await host.stop()


@with_loop
async def test_a_failed_connection_leaves_no_trace(tmp_path: Path) -> None:
    """Refused streams are not counted as connected."""
    host = host_of(tmp_path)
    await host.start()
    try:
        stream = host.connect(Caller("ada", max_streams=1))
        for _ in range(5):
            with pytest.raises(QuotaExceeded):
                host.connect(Caller("ada", max_streams=1))
        assert host.open_streams == 1
        stream.abort()
        await host.until_empty()
    finally:
        await host.stop()


@with_loop
async def test_connections_before_their_config_are_bounded(tmp_path: Path) -> None:
    """Who connects and says nothing can take only so many places; those who sent a config do not count."""
    host = host_of(tmp_path, max_opening=2)
    await host.start()
    try:
        first, _ = host.connect(), host.connect()
        with pytest.raises(Overloaded, match=r"^2 connections have sent no config yet, try again later$"):
            host.connect()
        await first.send(CONFIG)
        third = host.connect()
        with pytest.raises(Overloaded):
            host.connect()
        third.abort()
        while host.open_streams == 3:  # noqa: ASYNC110 - the host forgets it in the next turn of the loop
            await asyncio.sleep(0)
        host.connect()
    finally:
        await host.stop()


@with_loop
async def test_audio_is_counted_over_streams(tmp_path: Path) -> None:
    """A key that has sent more than its share waits until it is paid off; the stream that sent it is not cut."""
    ada, clock = Caller("ada", audio_s_per_minute=2.0), Clock()
    host = host_of(tmp_path, clock)
    await host.start()
    try:
        for seconds in (1, 2):
            stream = host.connect(ada)
            await stream.send(dataclasses.replace(CONFIG, mode="file"))
            for _ in range(seconds):
                await stream.send(Audio(bytes(32000)))
            await stream.send(End())
            assert (await rest(stream))[-1] == Done(16000 * seconds, 0)
            await host.until_empty()
        with pytest.raises(QuotaExceeded, match=r"^expected at most 2 seconds of audio per minute, wait 30\.0 s$"):
            host.connect(ada)
        clock.now = 30.0
        host.connect(ada).abort()
    finally:
        await host.stop()


@with_loop
async def test_the_log_names_stream_and_key_and_nothing_that_was_said(tmp_path: Path) -> None:
    """One event per ended stream: its id, the name of its key if there is one, what it was and how it ended."""
    host = host_of(tmp_path)
    await host.start()
    try:
        with structlog.testing.capture_logs() as events:
            stream = host.connect(Caller("ada"))
            await stream.send(CONFIG)
            await stream.send(Audio(bytes(6400)))
            await stream.send(End())
            await rest(stream)
            nobody = host.connect()
            nobody.abort()
            await host.until_empty()
        common = {"event": "stream ended", "log_level": "info"}
        what = {"model": "counter-asr@1.0.0", "mode": "live", "audio_s": 0.2}
        of_ada = {**common, "session": stream.session.session_id, "key": "ada", **what, "outcome": "ok"}
        of_nobody = {**common, "session": nobody.session.session_id, "outcome": "gone"}
        assert sorted(events, key=len) == [of_nobody, of_ada]
    finally:
        await host.stop()
