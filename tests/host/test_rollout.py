"""Models that come and go under live streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamer.bundle.loader import load_bundle
from streamer.config import Settings
from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.errors import BundleError, InvalidRequest, UnknownBundle
from streamer.host import Host, Stream
from streamer.session.messages import Audio, Config, Done, End, Ready, Result
from tests.cli.conftest import speech
from tests.gateway.serving import with_loop
from tests.toys import edit_manifest, write_counter_asr

CONFIG = Config("pcm_f32le", 16000, 1)
PCM = speech(2.0).tobytes()
HALF = len(PCM) // 2
OLD, NEW = "counter-asr@1.0.0", "counter-asr@1.1.0"


@asynccontextmanager
async def hosting(folder: Path) -> AsyncIterator[Host]:
    """A host of the counter, whose newer versions are looked for in `folder`."""
    bundle = load_bundle(write_counter_asr(folder / "old"))
    (folder / "new").mkdir()
    engine = Engine([bundle], EngineSettings(workers=2, max_streams=4))
    settings = Settings(bundle_path=(folder / "old", folder / "new"), models=("counter-asr",))
    host = Host(engine, [bundle], settings, CollectorRegistry())
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


async def opened(host: Host, model: str = "") -> tuple[Stream, Ready]:
    stream = host.connect()
    await stream.send(Config("pcm_f32le", 16000, 1, model=model))
    ready = await stream.receive()
    assert isinstance(ready, Ready)
    return stream, ready


async def finish(stream: Stream, pcm: bytes) -> str:
    """Send the rest, and return the text of all finals."""
    for start in range(0, len(pcm), 6400):
        await stream.send(Audio(pcm[start : start + 6400]))
    await stream.send(End())
    finals = []
    while (message := await stream.receive()) is not None:
        if isinstance(message, Result) and message.is_final:
            finals.append(message.text)
    return " ".join(finals)


@with_loop
async def test_a_new_version_takes_over_without_losing_a_stream(tmp_path: Path) -> None:
    """Open streams end with the version they began with, new ones get the new one, and the texts are the same."""
    async with hosting(tmp_path) as host:
        expected = await finish((await opened(host))[0], PCM)
        assert expected
        old, ready = await opened(host)
        assert ready.model == OLD
        for start in range(0, HALF, 6400):
            await old.send(Audio(PCM[start : min(start + 6400, HALF)]))
        write_counter_asr(tmp_path / "new", version="1.1.0")
        assert await host.rollout.load("counter-asr") == NEW
        new, ready = await opened(host)
        assert ready.model == NEW
        assert [f"{model.name}@{model.version}" for model in host.models()] == [NEW]
        assert await finish(new, PCM) == expected
        host.rollout.remove_retired()
        assert await finish(old, PCM[HALF:]) == expected
        host.rollout.remove_retired()
        assert [worker.used_slots(OLD) for worker in host.workers] == [0, 0]
        assert await host.rollout.load(OLD) == OLD


@with_loop
async def test_the_old_version_is_back_at_once(tmp_path: Path) -> None:
    """What was replaced and still has streams needs no loading; the streams of both versions end as they began."""
    async with hosting(tmp_path) as host:
        old, _ = await opened(host)
        write_counter_asr(tmp_path / "new", version="1.1.0")
        await host.rollout.load(NEW)
        bad, ready = await opened(host)
        assert ready.model == NEW
        assert await host.rollout.load(OLD) == OLD
        again, ready = await opened(host)
        assert ready.model == OLD
        texts = [await finish(stream, PCM) for stream in (old, bad, again)]
        assert texts[0]
        assert texts == [texts[0]] * 3
        # What is served again is not taken for what was replaced.
        host.rollout.remove_retired()
        last, ready = await opened(host)
        assert (ready.model, await finish(last, PCM)) == (OLD, texts[0])
        assert await host.rollout.load(NEW) == NEW


@with_loop
async def test_another_bundle_of_a_version_that_has_streams_is_refused(tmp_path: Path) -> None:
    """What is on the disk must be what its streams began with; after their end it may be loaded."""
    async with hosting(tmp_path) as host:
        old, _ = await opened(host)
        write_counter_asr(tmp_path / "new", version="1.1.0")
        await host.rollout.load(NEW)
        edit_manifest(tmp_path / "old" / "counter-asr", lambda manifest: manifest.update(description="another"))
        with pytest.raises(
            InvalidRequest, match=r"^another counter-asr@1\.0\.0 still has streams, load this one after "
        ):
            await host.rollout.load(OLD)
        await finish(old, PCM)
        host.rollout.remove_retired()
        assert await host.rollout.load(OLD) == OLD


@with_loop
async def test_what_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    """A damaged version, an unknown name and the version that is served are refused; streams go on."""
    async with hosting(tmp_path) as host:
        stream, _ = await opened(host)
        (write_counter_asr(tmp_path / "new", version="1.1.0") / "step.onnx").unlink()
        with pytest.raises(BundleError, match=r"^bundle counter-asr: graph step: file step\.onnx is missing$"):
            await host.rollout.load("counter-asr")
        with pytest.raises(UnknownBundle, match=r"^unknown bundle 'other', expected one of "):
            await host.rollout.load("other")
        expected = r"^expected another version of model counter-asr, counter-asr@1\.0\.0 is served$"
        with pytest.raises(InvalidRequest, match=expected):
            await host.rollout.load(OLD)
        assert (await opened(host))[1].model == OLD
        assert await finish(stream, PCM)


@with_loop
async def test_reload_takes_only_what_is_newer(tmp_path: Path) -> None:
    """Without a newer version on the bundle path nothing is loaded."""
    async with hosting(tmp_path) as host:
        assert await host.rollout.reload() == []
        write_counter_asr(tmp_path / "new", version="1.1.0")
        assert await host.rollout.reload() == [NEW]
        assert await host.rollout.reload() == []


@with_loop
async def test_an_unloaded_model_takes_no_streams(tmp_path: Path) -> None:
    """New streams hear that there is none; an unknown name lists what there is."""
    async with hosting(tmp_path) as host:
        with pytest.raises(UnknownBundle, match=r"^unknown model 'x', expected one of counter-asr@1\.0\.0$"):
            await host.rollout.unload("x")
        open_one, _ = await opened(host)
        assert await host.rollout.unload("counter-asr") == OLD
        stream = host.connect()
        await stream.send(CONFIG)
        with pytest.raises(UnknownBundle, match=r"^no model for task 'transcribe' is served here$"):
            await stream.receive()
        await open_one.send(End())
        assert await open_one.receive() == Done(0, 0)
