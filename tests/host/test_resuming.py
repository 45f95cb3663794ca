"""Streams that are cut off and taken up again on a host: by replay, from the token alone, from snapshots."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamer.bundle.loader import load_bundle
from streamer.config import ResumeSection, Settings
from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.errors import Draining, InvalidRequest, Superseded, UnknownBundle
from streamer.host import Host, Stream
from streamer.host.assemble import programs_of
from streamer.host.callers import ANONYMOUS, Caller
from streamer.session.messages import (
    Audio,
    Config,
    Decoding,
    Done,
    End,
    Endpointing,
    Finalize,
    Finalized,
    Flow,
    Ready,
    Result,
    Resume,
    ServerMessage,
    SpeechEvent,
    Vad,
    Warning,
)
from streamer.work import Priority, Step
from streamer.work import Result as StepResult
from tests.gateway.serving import with_loop
from tests.toys import edit_manifest, vowels_pcm, write_counter_asr, write_echo, write_listener, write_vowels

RULES = Endpointing(silence_after_speech_s=0.3, silence_without_speech_s=0.4, max_segment_s=0.6)
CONFIG = Config("pcm_s16le", 16000, 1, mode="file", endpointing=RULES, resumable=True)
FRAME = 800
SECRET = "s" * 32
Write = Callable[[Path], Path]


@asynccontextmanager
async def hosting(
    folder: Path, write: Write = write_echo, slots: int = 4, also: Write | None = None, **settings: Any
) -> AsyncIterator[Host]:
    bundles = [load_bundle(each(folder)) for each in (write, also) if each is not None]
    registry = CollectorRegistry()
    programs = programs_of(bundles)
    engine = Engine(bundles, EngineSettings(workers=1, max_streams=slots), programs, registry=registry)
    host = Host(engine, bundles, Settings(**{"resume": resume(), **settings}), registry)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def resume(**changes: Any) -> ResumeSection:
    return ResumeSection(**{"interval_ms": 0, "secret": SECRET, **changes})


def noise(seconds: float, seed: int = 0, pause: float = 0.25) -> np.ndarray:
    """Loud stretches and silent ones of half a second, `pause` of all: int16[n]."""
    dice = np.random.default_rng(seed)
    loudness = np.repeat(dice.integers(0, 3000, round(seconds * 50)), 320)
    pauses = np.repeat(dice.random(round(seconds * 2)) >= pause, 8000)[: len(loudness)]
    return (dice.uniform(-1, 1, len(loudness)) * loudness * pauses).astype("<i2")


@dataclass
class Client:
    """Keeps what a client must to go on over another connection, and what it was told in all its lives."""

    config: Config
    pcm: np.ndarray
    # Controls by the sample they come after.
    controls: tuple[tuple[int, Finalize], ...] = ()
    finals: list[Result] = field(default_factory=list)
    # These may come twice.
    answers: set[Finalized] = field(default_factory=set)
    events: set[SpeechEvent] = field(default_factory=set)
    token: str | None = None
    acked: int = 0
    acked_controls: int = 0
    ready: Ready | None = None
    done: Done | None = None
    behind: int = 0

    def asked(self) -> Config:
        resumed = None if self.token is None else Resume(self.token, len(self.finals))
        return dataclasses.replace(self.config, resume=resumed)

    async def live(self, host: Host, until: int | None = None, caller: Caller = ANONYMOUS) -> Stream:
        """Connect, and send audio up to the sample `until`; None: all, and the end."""
        stream = host.connect(caller)
        await stream.send(self.asked())
        ready = await stream.receive()
        assert isinstance(ready, Ready)
        self.take(ready)
        for message in self._messages(ready, until):
            await stream.send(message)
        return stream

    async def read(self, stream: Stream, most: int | None = None) -> None:
        while most is None or most > 0:
            message = await stream.receive()
            if message is None:
                return
            self.take(message)
            most = None if most is None else most - 1

    def take(self, message: ServerMessage) -> None:
        match message:
            case Ready(resume_token=token):
                self.ready, self.token = message, token
                assert self.acked <= message.next_sample
                assert self.acked_controls <= message.next_control
            case Result(is_final=True):
                assert message.segment_id == len(self.finals)
                self.finals.append(message)
            case Result():
                assert message.segment_id >= len(self.finals)
            case Finalized():
                self.answers.add(message)
            case SpeechEvent():
                self.events.add(message)
            case Flow(resume_token=str(token)):
                assert message.acked_sample is not None
                assert message.acked_controls is not None
                assert self.acked <= message.acked_sample
                self.behind = max(self.behind, message.received_sample - message.acked_sample)
                self.acked, self.acked_controls, self.token = message.acked_sample, message.acked_controls, token
            case Done():
                self.done = message

    def _messages(self, ready: Ready, until: int | None) -> Iterator[Audio | Finalize | End]:
        at, end = ready.next_sample, len(self.pcm) if until is None else until
        for place, control in (*self.controls[ready.next_control :], (end, None)):
            for begin in range(at, min(place, end), FRAME):
                yield Audio(self.pcm[begin : min(begin + FRAME, place, end)].tobytes(), begin)
            at = max(at, min(place, end))
            if control is not None and place <= end:
                yield control
        if until is None:
            yield End()


async def whole(host: Host, client: Client) -> Client:
    """The same stream, uninterrupted."""
    other = Client(client.config, client.pcm, client.controls)
    await other.read(await other.live(host))
    return other


async def cut_randomly(host: Host, client: Client, dice: random.Random, lives: int) -> int:
    """Live `lives` times, each time for some audio and some messages, then to the end; returns how often."""
    for _life in range(lives):
        begin = client.ready.next_sample if client.ready else 0
        until = min(len(client.pcm) - 1, begin + dice.randrange(1, 3 * len(client.pcm) // lives))
        stream = await client.live(host, until)
        for _ in range(dice.randrange(40)):
            try:
                async with asyncio.timeout(0.02):
                    await client.read(stream, 1)
            except TimeoutError:
                break
        stream.abort()
    await client.read(await client.live(host))
    return lives + 1


CONTROLS = ((5000, Finalize("a")), (5000, Finalize("b")), (21_111, Finalize("c")), (30_000, Finalize("d")))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("write", [write_echo, write_counter_asr])
@with_loop
async def test_random_cuts(tmp_path: Path, write: Write, rate: int) -> None:
    """Models that are replayed and models that travel in the token say what they say without a cut."""
    config = dataclasses.replace(CONFIG, sample_rate=rate)
    async with hosting(tmp_path, write) as host:
        for seed in range(2):
            client = Client(config, noise(3.0, seed), CONTROLS)
            expected = await whole(host, client)
            await cut_randomly(host, client, random.Random(seed), 6)
            assert client.finals == expected.finals
            assert client.done == expected.done
            assert client.answers == expected.answers
            assert len(client.finals) >= 3
        assert host.workers[0].free_slots(f"{'echo' if write is write_echo else 'counter-asr'}@1.0.0") == 4


@with_loop
async def test_the_toy_needs_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay from too late, or without the search's state, is heard: so the cuts above prove something."""
    pcm = noise(2.0, 1, pause=0.0)
    for broken in ("memory", "search"):
        async with hosting(tmp_path / broken) as host:
            client = Client(CONFIG, pcm)
            expected = await whole(host, client)
            stream = await client.live(host, 30_000)
            await client.read(stream, 30)
            stream.abort()
            worker = host.workers[0]
            if broken == "search":
                monkeypatch.setattr(worker, "restore", lambda *_: None)
            else:
                ticket = host._desk._tokens.read(client.token)
                replay = dataclasses.replace(ticket.point.replay, position=ticket.point.position - 640)
                replay = dataclasses.replace(replay, wire_sample=replay.position)
                point = dataclasses.replace(ticket.point, replay=replay)
                client.token = host._desk._tokens.issue(dataclasses.replace(ticket, point=point))
                client.acked = 0
            await client.read(await client.live(host))
            assert len(client.finals) >= len(expected.finals) - 2
            assert client.finals != expected.finals


@with_loop
async def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """The distance from what was received to what is acknowledged is that of the model's memory."""
    async with hosting(tmp_path) as host:
        client = Client(CONFIG, noise(20.0), CONTROLS)
        await client.read(await client.live(host))
    assert client.acked > len(client.pcm) - 8000
    # The room of the host, which is what a fast sender may have on its way, and the memory of the model.
    assert client.behind < 14.1 * 16000 + 10 * 320 + FRAME
    assert client.acked_controls == len(CONTROLS)


@with_loop
async def test_beams_are_taken_up(tmp_path: Path) -> None:
    """Hypotheses travel in the token; the warm-up does without them."""
    text = "a o a a o o a o o a " * 3
    config = dataclasses.replace(CONFIG, decoding=Decoding("beam", 4))
    pcm = (np.clip(vowels_pcm(text, 6), -1, 1) * 32767).astype("<i2")

    def write(folder: Path) -> Path:
        path = write_vowels(folder)
        edit_manifest(path, lambda manifest: manifest.update(receptive_field_samples=0))
        return path

    async with hosting(tmp_path, write) as host:
        for seed in range(2):
            client = Client(config, pcm)
            expected = await whole(host, client)
            await cut_randomly(host, client, random.Random(seed), 5)
            assert client.finals == expected.finals
    assert expected.finals


@with_loop
async def test_detectors_are_taken_up(tmp_path: Path) -> None:
    """A stream of the task vad says where speech begins and ends as without a cut; nothing is missing or new."""
    config = dataclasses.replace(CONFIG, task="vad", vad=Vad(min_speech_s=0.01, min_silence_s=0.02))
    async with hosting(tmp_path, write_listener) as host:
        client = Client(config, np.repeat(noise(1.0, 1, 0.0), 4) * np.int16(4))
        expected = await whole(host, client)
        await cut_randomly(host, client, random.Random(1), 6)
    assert client.events == expected.events
    assert len(client.events) > 5
    assert client.done == expected.done


@with_loop
async def test_another_server_with_the_secret_goes_on(tmp_path: Path) -> None:
    """Nothing but the secret is shared."""
    client = Client(CONFIG, noise(2.0), CONTROLS)
    async with hosting(tmp_path / "a") as first:
        expected = await whole(first, client)
        await client.read(await client.live(first, 20_000), 20)
    async with hosting(tmp_path / "b") as second:
        await client.read(await client.live(second))
        assert 'streamer_resumed_streams_total{way="replay"} 1.0' in second.metrics_text().decode().splitlines()
    assert client.finals == expected.finals
    other = Client(CONFIG, client.pcm, token=client.token)
    async with hosting(tmp_path / "c", resume=resume(secret="t" * 32)) as third:
        with pytest.raises(InvalidRequest, match="^resume.token: expected a token that this server can check"):
            await other.live(third)


@with_loop
async def test_the_old_connection_is_superseded(tmp_path: Path) -> None:
    """A client that comes back before the server noticed that it was gone takes its own slot."""
    async with hosting(tmp_path, slots=1) as host:
        client = Client(CONFIG, noise(2.0))
        expected = await whole(host, client)
        old = await client.live(host, 16_000)
        await client.read(old, 10)
        new = await client.live(host)
        with pytest.raises(Superseded, match="^stream was resumed over another connection$"):
            await Client(CONFIG, client.pcm, token=client.token).read(old)
        await client.read(new)
        assert client.finals == expected.finals
        assert client.ready is not None
        assert host.open_streams <= 1


@with_loop
async def test_warming_up_waits_behind_live_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that only rebuild what was heard before have the priority of files; those after the point are live."""
    async with hosting(tmp_path) as host:
        client = Client(dataclasses.replace(CONFIG, mode="live"), noise(1.0))
        stream = await client.live(host, 14_000)
        while client.acked < 5000:
            await client.read(stream, 1)
        stream.abort()
        worker, priorities = host.workers[0], []
        submit = worker.submit

        def noted(step: Step, on_result: Callable[[StepResult], None]) -> None:
            priorities.append(step.priority)
            submit(step, on_result)

        monkeypatch.setattr(worker, "submit", noted)
        await client.read(await client.live(host))
    warm = priorities.count(Priority.FILE)
    assert warm == 8
    assert priorities == [Priority.FILE] * warm + [Priority.LIVE] * (len(priorities) - warm)
    assert len(priorities) > warm


@with_loop
async def test_refusals(tmp_path: Path) -> None:
    """What cannot be taken up is told precisely, and holds no slot."""
    async with hosting(tmp_path, slots=1) as host:
        client = Client(CONFIG, noise(2.0))
        stream = await client.live(host, 20_000, Caller("alice"))
        while not client.finals:
            await client.read(stream, 1)
        stream.abort()
        await host.until_empty()
        token = client.token
        assert token is not None
        other = dataclasses.replace(CONFIG, sample_rate=8000)
        cases: list[tuple[Config, str, str]] = [
            (dataclasses.replace(CONFIG, resume=Resume("x")), "alice", "^resume.token: expected a token that"),
            (
                dataclasses.replace(CONFIG, resume=Resume(token, 9)),
                "bob",
                "^resume.token: expected a token of the same",
            ),
            (dataclasses.replace(other, resume=Resume(token, 9)), "alice", "^resume: expected the config that"),
            (
                dataclasses.replace(CONFIG, resumable=False, resume=Resume(token, 9)),
                "alice",
                "^resume: expected a config that is resumable",
            ),
            (
                dataclasses.replace(CONFIG, vad=Vad(events=True, gate=True)),
                "alice",
                "^expected no vad.gate in a stream that can be resumed, vad.events alone can be$",
            ),
            (
                dataclasses.replace(CONFIG, encoding="flac"),
                "alice",
                "^expected a pcm encoding for a stream that can be",
            ),
        ]
        if host._desk._tokens.read(token).point.segments:
            least = dataclasses.replace(CONFIG, resume=Resume(token, 0))
            cases.append((least, "alice", "^resume.next_segment: expected at least the token's 1, got 0$"))
        for config, caller, message in cases:
            refused = host.connect(Caller(caller))
            await refused.send(config)
            with pytest.raises(InvalidRequest, match=message):
                await refused.receive()
        assert host.workers[0].free_slots("echo@1.0.0") == 1


@with_loop
async def test_another_model_is_refused(tmp_path: Path) -> None:
    """Of another version, or of the same version with other contents."""
    client = Client(CONFIG, noise(1.0))
    async with hosting(tmp_path / "a") as host:
        await client.read(await client.live(host, 8000), 10)

    def changed(change: Callable[[dict[str, Any]], Any]) -> Write:
        def write(folder: Path) -> Path:
            path = write_echo(folder)
            edit_manifest(path, change)
            return path

        return write

    async with hosting(tmp_path / "b", changed(lambda m: m.update(version="1.0.1"))) as host:
        with pytest.raises(UnknownBundle, match=r"^unknown model 'echo@1\.0\.0', expected one of echo@1\.0\.1$"):
            await client.live(host)
    async with hosting(tmp_path / "c", changed(lambda m: m.update(description="other"))) as host:
        with pytest.raises(InvalidRequest, match=r"^resume: expected the model echo@1\.0\.0 of the stream's begin"):
            await client.live(host)


async def drained(host: Host, stream: Stream, client: Client) -> None:
    """The server is told to leave; the client reads what still comes."""
    draining = asyncio.create_task(host.drain(10.0))
    moved = "^server is shutting down, resume the stream when it is back or on another one$"
    with pytest.raises(Draining, match=moved):
        await client.read(stream)
    await draining


@pytest.mark.parametrize("write", [write_echo, write_counter_asr])
@pytest.mark.parametrize("reads", [0, 3, 30])
@with_loop
async def test_a_restart_goes_on_without_replay(tmp_path: Path, write: Write, reads: int) -> None:
    """A drain writes the stream down at once; on the same machine it goes on with the next sample."""
    state = tmp_path / "state"
    client = Client(CONFIG, noise(2.0), CONTROLS)
    async with hosting(tmp_path / "a", write, state_dir=state) as host:
        expected = await whole(host, client)
        stream = await client.live(host, 22_000)
        await client.read(stream, reads)
        await drained(host, stream, client)
    (path,) = (state / "streams").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    async with hosting(tmp_path / "b", write, state_dir=state) as host:
        stream = await client.live(host)
        assert client.ready is not None
        assert (client.ready.next_sample, client.ready.next_control) == (22_000, 3)
        await client.read(stream)
        assert list((state / "streams").iterdir()) == []
        assert 'streamer_resumed_streams_total{way="snapshot"} 1.0' in host.metrics_text().decode().splitlines()
    assert client.finals == expected.finals
    assert client.answers == expected.answers
    assert client.done == expected.done


@with_loop
async def test_a_restart_repeats_what_was_lost(tmp_path: Path) -> None:
    """Finals that the client never read because its connection went first come again."""
    state = tmp_path / "state"
    client = Client(CONFIG, noise(2.0, 2), CONTROLS)
    async with hosting(tmp_path / "a", state_dir=state) as host:
        expected = await whole(host, client)
        stream = await client.live(host, 30_000)
        await drained(host, stream, Client(CONFIG, client.pcm))
    async with hosting(tmp_path / "b", state_dir=state) as host:
        stream = await client.live(host)
        assert client.ready is not None
        assert client.ready.next_sample == 30_000
        await client.read(stream)
    assert client.finals == expected.finals
    assert client.answers == expected.answers


@pytest.mark.parametrize("damage", [True, False])
@with_loop
async def test_without_a_good_snapshot_there_is_replay(tmp_path: Path, damage: bool) -> None:
    """One that is damaged, or older than what the client has, is thrown away."""
    state = tmp_path / "state"
    client = Client(CONFIG, noise(2.0, 3), CONTROLS)
    async with hosting(tmp_path / "a", state_dir=state) as host:
        expected = await whole(host, client)
        stream = await client.live(host, 12_000)
        await drained(host, stream, client)
    (path,) = (state / "streams").iterdir()
    if damage:
        path.write_bytes(path.read_bytes()[:-100])
    else:
        secret = {"resume": resume(secret=SECRET)}
        async with hosting(tmp_path / "elsewhere", **secret) as host:
            await client.read(await client.live(host, 26_000), 30)
    async with hosting(tmp_path / "b", state_dir=state) as host:
        stream = await client.live(host)
        assert client.ready is not None
        assert client.ready.next_sample == client.acked
        await client.read(stream)
    assert client.finals == expected.finals
    assert not path.exists()


@with_loop
async def test_others_are_warned(tmp_path: Path) -> None:
    """A stream that cannot be resumed has until the deadline, also with a state folder."""
    async with hosting(tmp_path / "a", state_dir=tmp_path / "state") as host:
        client = Client(dataclasses.replace(CONFIG, resumable=False), noise(1.0))
        stream = await client.live(host, 8000)
        draining = asyncio.create_task(host.drain(10.0))
        while not isinstance(await stream.receive(), Warning):
            pass
        await stream.send(End())
        await client.read(stream)
        assert client.done == Done(8000, len(client.finals))
        await draining
