"""Resumed streams with a detector beside the recogniser, on a host."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import InvalidRequest
from streamer.session.messages import SpeechEvent, Vad
from streamer.work import Priority, Step
from streamer.work import Result as StepResult
from tests.gateway.serving import with_loop
from tests.host.test_resuming import CONFIG, CONTROLS, Client, Write, cut_randomly, drained, hosting, noise, whole
from tests.toys import edit_manifest, write_counter_asr, write_echo, write_listener

VAD = Vad(events=True, min_speech_s=0.01, min_silence_s=0.02)
HEARD = replace(CONFIG, vad=VAD)


def changed_listener(change: Callable[[dict[str, Any]], Any]) -> Write:
    def write(folder: Path) -> Path:
        path = write_listener(folder)
        edit_manifest(path, change)
        return path

    return write


def large(manifest: dict[str, Any]) -> None:
    """A detector with too much state for a token, which forgets what is older than its two frames."""
    unused = {**manifest["states"][0], "name": "unused", "dims": [2000]}
    manifest["states"].append(unused)
    manifest["receptive_field_samples"] = 160


def endless(manifest: dict[str, Any]) -> None:
    """The same, with no word about what it forgets."""
    large(manifest)
    del manifest["receptive_field_samples"]


def speech(seconds: float, seed: int) -> np.ndarray:
    return np.repeat(noise(seconds / 4, seed, 0.0), 4) * np.int16(4)


def same(client: Client, expected: Client) -> None:
    """What a client was told in all its lives is what the whole stream says; events may come twice."""
    assert client.finals == expected.finals
    assert client.events == expected.events
    assert client.answers == expected.answers
    assert client.done == expected.done
    assert len(client.events) > 5


@pytest.mark.parametrize("listen", [write_listener, changed_listener(large), changed_listener(endless)])
@pytest.mark.parametrize(("write", "rate"), [(write_echo, 8000), (write_echo, 44100), (write_counter_asr, 16000)])
@with_loop
async def test_random_cuts(tmp_path: Path, write: Write, listen: Write, rate: int) -> None:
    """Detectors that travel in the token, that are replayed, and that need the whole stream again."""
    async with hosting(tmp_path, write, also=listen) as host:
        client = Client(replace(HEARD, sample_rate=rate), speech(4.0, 1), CONTROLS)
        expected = await whole(host, client)
        await cut_randomly(host, client, random.Random(rate), 6)
        await host.until_empty()
        assert host.workers[0].free_slots("listener@1.0.0") == 4
    same(client, expected)


@with_loop
async def test_warming_up_of_a_detector_waits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps that only rebuild what was heard before have the priority of files; those after the point are live."""
    listen = changed_listener(large)
    async with hosting(tmp_path, write_counter_asr, also=listen) as host:
        client = Client(replace(HEARD, mode="live"), speech(2.0, 1))
        stream = await client.live(host, 16_000)
        while client.acked < 5000:
            await client.read(stream, 1)
        stream.abort()
        worker, priorities = host.workers[0], []
        submit = worker.submit

        def noted(step: Step, on_result: Callable[[StepResult], None]) -> None:
            if step.bundle.startswith("listener"):
                priorities.append(step.priority)
            submit(step, on_result)

        monkeypatch.setattr(worker, "submit", noted)
        await client.read(await client.live(host))
    assert priorities[0] is Priority.FILE
    assert set(priorities[1:]) == {Priority.LIVE}
    assert len(priorities) > 20


@pytest.mark.parametrize("listen", [write_listener, changed_listener(large)])
@pytest.mark.parametrize("reads", [0, 3, 60])
@with_loop
async def test_a_restart_goes_on_without_replay(tmp_path: Path, listen: Write, reads: int) -> None:
    """A drain writes down both models' states; events that the client had not read come again."""
    state = tmp_path / "state"
    client = Client(HEARD, speech(3.0, 1), CONTROLS)
    async with hosting(tmp_path / "a", also=listen, state_dir=state) as host:
        expected = await whole(host, client)
        stream = await client.live(host, 22_000)
        await client.read(stream, reads)
        await drained(host, stream, client if reads else Client(HEARD, client.pcm))
    async with hosting(tmp_path / "b", also=listen, state_dir=state) as host:
        stream = await client.live(host)
        assert client.ready is not None
        assert (client.ready.next_sample, client.ready.next_control) == (22_000, 3)
        await client.read(stream)
        assert 'streamer_resumed_streams_total{way="snapshot"} 1.0' in host.metrics_text().decode().splitlines()
    same(client, expected)


@with_loop
async def test_a_snapshot_of_the_task_vad(tmp_path: Path) -> None:
    """A stream of the task vad is written down with the events that its client may not have."""
    state = tmp_path / "state"
    client = Client(replace(CONFIG, task="vad", vad=replace(VAD, events=False)), speech(3.0, 1))
    async with hosting(tmp_path / "a", write_listener, state_dir=state) as host:
        expected = await whole(host, client)
        stream = await client.live(host, 22_000)
        await drained(host, stream, Client(client.config, client.pcm))
    async with hosting(tmp_path / "b", write_listener, state_dir=state) as host:
        await client.read(await client.live(host))
        assert 'streamer_resumed_streams_total{way="snapshot"} 1.0' in host.metrics_text().decode().splitlines()
    same(client, expected)


@with_loop
async def test_another_detector_is_refused(tmp_path: Path) -> None:
    """A stream goes on with the detector that it began with, or not at all."""
    client = Client(HEARD, speech(2.0, 1))
    async with hosting(tmp_path / "a", also=write_listener) as host:
        await client.read(await client.live(host, 16_000), 20)
    other = changed_listener(lambda manifest: manifest.update(description="other"))
    async with hosting(tmp_path / "b", also=other) as host:
        with pytest.raises(InvalidRequest, match=r"^resume: expected the model listener@1\.0\.0 of the stream's begin"):
            await client.live(host)
        assert host.workers[0].free_slots("listener@1.0.0") == host.workers[0].free_slots("echo@1.0.0") == 4
    assert any(isinstance(event, SpeechEvent) for event in client.events)
