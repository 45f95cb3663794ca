"""Admission, timers and drain of the host, with the toy recogniser."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streamer.bundle.loader import load_bundle
from streamer.config import SessionSection, Settings
from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.errors import BundleError, Draining, ModelFault, Overloaded, QuotaExceeded, StreamTimeout
from streamer.host import Host, ModelInfo, Stream
from streamer.host.callers import Caller
from streamer.host.metrics import HostMetrics
from streamer.session.messages import (
    Audio,
    Cancel,
    Config,
    Done,
    End,
    Finalize,
    Finalized,
    KeepAlive,
    Ready,
    ServerMessage,
    Warning,
)
from streamer.session.session import Session
from tests.gateway.serving import with_loop
from tests.toys import edit_manifest, write_counter_asr

CONFIG = Config("pcm_s16le", 16000, 1)


class Clock:
    """A clock that tests move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def hosting(folder: Path, clock: Clock | None = None, **session: Any) -> AsyncIterator[Host]:
    bundle = load_bundle(write_counter_asr(folder))
    registry = CollectorRegistry()
    engine = Engine([bundle], EngineSettings(workers=1, max_streams=2), registry=registry)
    settings = Settings(session=SessionSection(**session))
    host = Host(engine, [bundle], settings, registry, **({"clock": clock} if clock else {}))
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def metrics(host: Host) -> list[str]:
    return host.metrics_text().decode().splitlines()


async def opened(host: Host) -> Stream:
    stream = host.connect()
    await stream.send(CONFIG)
    assert isinstance(await stream.receive(), Ready)
    return stream


async def rest(stream: Stream) -> list[ServerMessage]:
    messages = []
    while (message := await stream.receive()) is not None:
        messages.append(message)
    return messages


@with_loop
async def test_a_full_house_refuses_and_a_free_slot_admits(tmp_path: Path) -> None:
    """The third stream of two slots is refused at once; when one ends, the next is admitted."""
    async with hosting(tmp_path) as host:
        first, second = await opened(host), await opened(host)
        third = host.connect()
        await third.send(CONFIG)
        with pytest.raises(Overloaded, match=r"^all slots of counter-asr@1\.0\.0 are taken, try again later$"):
            await third.receive()
        first.abort()
        fourth = await opened(host)
        for stream in (second, fourth):
            await stream.send(End())
            assert await rest(stream) == [Done(0, 0)]


@with_loop
async def test_models_are_described(tmp_path: Path) -> None:
    """What clients may ask for, with rates and delays."""
    async with hosting(tmp_path) as host:
        (model,) = host.models()
    assert dataclasses.replace(model, description="") == ModelInfo(
        "counter-asr", "1.0.0", "transcribe", "", model.languages, 16000, 20.0, model.delay_ms, True
    )


@with_loop
async def test_a_connection_without_config_times_out(tmp_path: Path) -> None:
    """A client that connects and says nothing is sent away after the idle timeout."""
    clock = Clock()
    async with hosting(tmp_path, clock, idle_timeout_ms=5000) as host:
        stream = host.connect()
        clock.now = 5.1
        with pytest.raises(StreamTimeout, match=r"^no config within 5 s$"):
            await stream.receive()
        await host.until_empty()


@with_loop
async def test_an_idle_stream_times_out_and_keep_alive_prevents_it(tmp_path: Path) -> None:
    """Silence on the wire ends the stream; any message restarts the timer."""
    clock = Clock()
    async with hosting(tmp_path, clock, idle_timeout_ms=5000) as host:
        quiet, lively = await opened(host), await opened(host)
        clock.now = 4.0
        await lively.send(KeepAlive())
        clock.now = 5.5
        with pytest.raises(StreamTimeout):
            await quiet.receive()
        await lively.send(End())
        assert await rest(lively) == [Done(0, 0)]


@with_loop
async def test_a_chunk_longer_than_the_room_is_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-pressure never waits for a step that waits for the rest of its chunk."""
    monkeypatch.setattr("streamer.host.host._LIVE_SLACK_MS", 0.0)
    async with hosting(tmp_path, max_ahead_ms=1) as host:
        stream = host.connect()
        await stream.send(dataclasses.replace(CONFIG, mode="file"))
        for _ in range(10):
            await stream.send(Audio(bytes(320)))
        await stream.send(End())
        assert (await rest(stream))[-1] == Done(1600, 0)


@with_loop
async def test_drain_warns_waits_and_closes_the_door(tmp_path: Path) -> None:
    """Live streams are warned and may finish; new ones are refused."""
    async with hosting(tmp_path) as host:
        stream = await opened(host)
        draining = asyncio.create_task(host.drain(30.0))
        assert await stream.receive() == Warning("draining", "server shuts down, finish within 30 s")
        assert not host.ready
        with pytest.raises(Draining, match="^server is shutting down, connect to another one$"):
            host.connect()
        await stream.send(End())
        assert await rest(stream) == [Done(0, 0)]
        await draining


@with_loop
async def test_drain_ends_what_is_left_at_the_deadline(tmp_path: Path) -> None:
    """A stream that does not finish is ended as draining, and its slot is free."""
    async with hosting(tmp_path) as host:
        stream = await opened(host)
        await host.drain(0.0)
        assert isinstance(await stream.receive(), Warning)
        with pytest.raises(Draining, match="^server shut down before the stream ended$"):
            await stream.receive()
        assert host.open_streams == 0


@with_loop
async def test_a_bug_ends_one_stream_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of a stream that hits a bug learns no details; its neighbour goes on."""
    async with hosting(tmp_path) as host:
        victim, neighbour = await opened(host), await opened(host)

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a secret path")

        monkeypatch.setattr(victim.session, "receive", broken)
        await victim.send(Audio(bytes(640)))
        with pytest.raises(ModelFault, match="^internal error in this stream: ZeroDivisionError$"):
            await victim.receive()
        await neighbour.send(End())
        assert await rest(neighbour) == [Done(0, 0)]


@with_loop
async def test_a_session_is_opened_on_its_workers_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a stream is admitted its worker ticks it, so no other thread may touch its session any more."""
    threads = []
    opening = Session.open

    def open_and_note(*arguments: Any) -> None:
        threads.append(threading.current_thread().name)
        opening(*arguments)

    monkeypatch.setattr(Session, "open", open_and_note)
    async with hosting(tmp_path) as host:
        await opened(host)
    assert threads == ["worker-0"]


@with_loop
async def test_a_stream_that_cannot_be_opened_leaves_its_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug between admission and `Ready` ends that stream, and its slot is free again."""

    def broken(*_: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(Session, "open", broken)
    async with hosting(tmp_path) as host:
        stream = host.connect()
        await stream.send(CONFIG)
        with pytest.raises(ModelFault, match="^internal error in this stream: KeyError$"):
            await stream.receive()
        await host.until_empty()
        assert host.workers[0].free_slots("counter-asr@1.0.0") == 2


@with_loop
async def test_a_drain_refuses_those_who_are_not_in_yet(tmp_path: Path) -> None:
    """A connection without config has nothing to lose: it is sent away at once, not warned and then admitted."""
    async with hosting(tmp_path) as host:
        stream = host.connect()
        await host.drain(30.0)
        await stream.send(CONFIG)
        with pytest.raises(Draining, match="^server is shutting down, connect to another one$"):
            await stream.receive()


@with_loop
async def test_lag_and_outcomes_are_measured(tmp_path: Path) -> None:
    """Every step is in the histogram of lag; a client that leaves is not counted among the streams that ended well."""
    async with hosting(tmp_path) as host:
        whole, left = await opened(host), await opened(host)
        await whole.send(Audio(bytes(2 * 320 * 5)))
        await whole.send(End())
        assert (await rest(whole))[-1] == Done(1600, 0)
        left.abort()
        await host.until_empty()
        lines = host.metrics_text().decode().splitlines()
    # Five chunks of audio and one of padding.
    assert 'streamer_lag_seconds_count{mode="live"} 6.0' in lines
    assert 'streamer_streams_total{outcome="ok"} 1.0' in lines
    assert 'streamer_streams_total{outcome="gone"} 1.0' in lines


@with_loop
async def test_an_operator_sees_audio_keys_and_final_words(tmp_path: Path) -> None:
    """Seconds of audio by mode and by key, open streams by key, and the wait for the last words, once per question."""
    async with hosting(tmp_path) as host:
        stream = host.connect(Caller("ada"))
        await stream.send(CONFIG)
        await stream.send(Audio(bytes(2 * 1600)))
        await stream.send(Finalize("one"))
        while not isinstance(await stream.receive(), Finalized):
            pass
        assert 'streamer_key_open_streams{key="ada"} 1.0' in metrics(host)
        await stream.send(End())
        await rest(stream)
        nobody = host.connect()
        await nobody.send(dataclasses.replace(CONFIG, mode="file"))
        await nobody.send(Finalize("two"))
        await nobody.send(Cancel())
        await rest(nobody)
        await host.until_empty()
        lines = metrics(host)
        assert b"ada" not in host.metrics_text(with_keys=False)
    assert 'streamer_audio_seconds_total{mode="live"} 0.1' in lines
    assert 'streamer_key_audio_seconds_total{key="ada"} 0.1' in lines
    assert 'streamer_key_open_streams{key="ada"} 0.0' in lines
    assert 'streamer_finalisation_seconds_count{mode="live"} 2.0' in lines
    # Streams without a key have no series of their own.
    assert not [line for line in lines if 'key=""' in line]


@with_loop
async def test_those_who_are_sent_away_are_counted(tmp_path: Path) -> None:
    """A limit of a key and a drain refuse before there is a stream; each is counted by its name."""
    async with hosting(tmp_path) as host:
        ada = Caller("ada", max_streams=1)
        host.connect(ada)
        for _ in range(2):
            with pytest.raises(QuotaExceeded):
                host.connect(ada)
        await host.drain(30.0)
        with pytest.raises(Draining):
            host.connect(ada)
        lines = metrics(host)
    assert 'streamer_refusals_total{refusal="quota_exceeded"} 2.0' in lines
    assert 'streamer_refusals_total{refusal="draining"} 1.0' in lines


def test_names_of_keys_are_bounded() -> None:
    """Keys that come and go leave at most 256 series of each kind, and one for all the others."""
    measured = HostMetrics(CollectorRegistry())
    for number in range(300):
        measured.opened(f"key{number}")
    measured.closed("key299")
    series = [line for line in generate_latest(measured.by_key).decode().splitlines() if "open_streams{" in line]
    assert len(series) == 257
    assert series[-1] == 'streamer_key_open_streams{key="(other)"} 43.0'


@with_loop
async def test_a_bundle_that_cannot_be_served_is_refused_at_the_start(tmp_path: Path) -> None:
    """A recogniser without its role of tokens would fail every stream, so no host is made of it."""
    folder = write_counter_asr(tmp_path)
    edit_manifest(folder, lambda manifest: manifest["task"]["roles"].pop("token_ids"))
    bundle = load_bundle(folder)
    registry = CollectorRegistry()
    with pytest.raises(BundleError, match=r"^bundle counter-asr: task transcribe needs the role token_ids$"):
        Host(Engine([bundle], registry=registry), [bundle], Settings(), registry)


@with_loop
async def test_a_worker_that_is_stuck_does_not_keep_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model call that never returns is left behind by the drain and by the stop."""
    monkeypatch.setattr("streamer.host.host._CLOSE_S", 0.01)
    monkeypatch.setattr("streamer.engine.worker._JOIN_S", 0.01)
    stuck = threading.Event()
    try:
        async with asyncio.timeout(10), hosting(tmp_path) as host:
            await opened(host)
            host.workers[0].post(lambda: stuck.wait() and None)
            await host.drain(0.0)
            assert host.open_streams == 1
    finally:
        stuck.set()
