"""Servers that are killed without a word, or told to leave, and started again at the same address: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from streamer.cli.port_file import read_ports
from streamer.client import ClientStream, Reconnect, connect
from streamer.session.messages import Config, Done, Endpointing, Result, Warning
from tests.e2e.recognised import SAMPLES, clip
from tests.e2e.test_streams import audio
from tests.ports import free_ports
from tests.toys import write_counter_asr, write_echo

RATE = 16_000
FRAME = 3200
SOON = Reconnect(first_delay_s=0.02, longest_delay_s=0.2, give_up_after_s=60.0)


@dataclass
class Address:
    """Where a server listens in all its lives."""

    grpc_port: int
    http_port: int

    def url(self, index: int) -> str:
        return f"ws://127.0.0.1:{self.http_port}" if index % 2 else f"grpc://127.0.0.1:{self.grpc_port}"


def free_address() -> Address:
    return Address(*free_ports(2))


@contextmanager
def served(address: Address, state: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server process at `address`, ready or not; killed on leaving if it still runs."""
    ports = state / "ports.json"
    ports.unlink(missing_ok=True)
    flags = ("--grpc-port", str(address.grpc_port), "--http-port", str(address.http_port), "--port-file", str(ports))
    command = [sys.executable, "-m", "streamer.cli.main", "serve", "--workers", "1", *arguments, *flags]
    environment = {**os.environ, "STREAMER_STATE_DIR": str(state), "STREAMER_RESUME__INTERVAL_MS": "100"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


async def ready(state: Path) -> None:
    while read_ports(state / "ports.json") is None:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)


@dataclass
class Heard:
    """What came of one stream, however often its server went away."""

    finals: list[tuple[object, ...]]
    done: Done | None = None
    cuts: int = 0


async def play(url: str, config: Config, pcm: bytes, speed: float | None = None) -> Heard:
    """Stream `pcm` at `speed` times real time, or as fast as it is taken."""
    heard = Heard([])
    async with connect(url, config, resumable=True, reconnect=SOON) as stream:
        sender = asyncio.create_task(send(stream, pcm, speed))
        async for message in stream:
            if isinstance(message, Result) and message.is_final:
                words = [(word.word, word.start_sample, word.end_sample) for word in message.words]
                heard.finals.append((message.segment_id, message.text, *words))
            elif isinstance(message, Done):
                heard.done = message
            elif isinstance(message, Warning):
                heard.cuts += message.code == "reconnected"
        await sender
    return heard


async def send(stream: ClientStream, pcm: bytes, speed: float | None) -> None:
    for start in range(0, len(pcm), FRAME):
        await stream.send(pcm[start : start + FRAME])
        if speed is not None:
            await asyncio.sleep(FRAME / 2 / RATE / speed)
    await stream.end()


async def cut_off(
    address: Address, state: Path, arguments: tuple[str, ...], config: Config, sounds: list[bytes], how: Cut
) -> tuple[list[Heard], list[Heard]]:
    """What streams of `sounds` say undisturbed, and while their server is ended and started again."""
    with served(address, state, *arguments) as process:
        await ready(state)
        expected = [await play(address.url(index), config, sound) for index, sound in enumerate(sounds)]
        streams = [asyncio.create_task(play(address.url(i), config, s, how.speed)) for i, s in enumerate(sounds)]
        await asyncio.sleep(how.after_s)
        process.send_signal(how.signal)
        status = await asyncio.to_thread(process.wait)
        assert status == (0 if how.signal == signal.SIGTERM else -how.signal)
    assert not any(stream.done() for stream in streams)
    with served(address, state, *arguments):
        return expected, await asyncio.gather(*streams)


@dataclass(frozen=True)
class Cut:
    """How a server ends: after how long, by which signal, while audio comes at `speed` times real time."""

    after_s: float
    signal: signal.Signals
    speed: float


@pytest.mark.parametrize("how", [Cut(0.7, signal.SIGKILL, 4.0), Cut(0.7, signal.SIGTERM, 4.0)], ids=["kill", "drain"])
def test_a_restart_in_the_middle_of_streams(tmp_path: Path, how: Cut) -> None:
    """Streams over both transports, of a model that is replayed and of one that is not, end as if nothing had been."""
    config = Config("pcm_s16le", RATE, 1, mode="file", endpointing=Endpointing(max_segment_s=0.7))
    write_echo(tmp_path)
    write_counter_asr(tmp_path)
    arguments = ("--bundle-path", str(tmp_path), "--model", "echo", "--model", "counter-asr")
    sounds = [audio(6.0, seed).tobytes() for seed in range(4)]
    state = tmp_path / "state"
    state.mkdir()
    expected, heard = asyncio.run(cut_off(free_address(), state, arguments, config, sounds, how))
    for before, after in zip(expected, heard, strict=True):
        assert after.finals == before.finals
        assert after.done == before.done
        assert (before.cuts, after.cuts) == (0, 1)
        assert len(before.finals) > 5


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_twenty_streams_outlive_their_server(
    tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """Speech of two minutes through the shipped recogniser, longer than its memory: all texts and times are equal."""
    dice = random.Random(int(number))
    pause = np.zeros(2 * RATE, "<i2").tobytes()
    names = [path.stem for path in SAMPLES]
    sounds = []
    for _ in range(20):
        parts = [clip(dice.choice(names)) + pause[: 2 * dice.randrange(RATE, 2 * RATE)] for _ in range(40)]
        sounds.append(b"".join(parts)[: 2 * 120 * RATE])
    config = Config("pcm_s16le", RATE, 1, mode="file")
    state = tmp_path / "state"
    state.mkdir()
    how = Cut(dice.uniform(15.0, 25.0), number, 4.0)
    expected, heard = asyncio.run(cut_off(free_address(), state, ("--model", "asr-en"), config, sounds, how))
    equal = sum(after.finals == before.finals for before, after in zip(expected, heard, strict=True))
    with capsys.disabled():
        print(f"\n{number.name} after {how.after_s:.1f} s: {equal} of {len(sounds)} streams equal")  # noqa: T201
    assert equal == len(sounds)
    assert [after.done for after in heard] == [before.done for before in expected]
    assert all(after.cuts == 1 for after in heard)
