"""Codec streams over the toy codec, without host and threads: sessions whose steps run together in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bundle.loader import load_bundle
from streamer.engine.programs import run_program
from streamer.errors import ModelFault
from streamer.host.catalogue import task_options
from streamer.session.messages import (
    Audio,
    AudioOut,
    ClientMessage,
    CodecOptions,
    Config,
    End,
    Packets,
    ServerMessage,
    Warning,
)
from streamer.session.session import Session, SessionSettings
from streamer.tasks.registry import program_of, task_maker
from streamer.work import Lease, Row
from tests.engine.support import make_dirty, runner_of
from tests.toys.codec import RATE, write_codec

FILE = Config("pcm_f32le", RATE, 1, task="codec", mode="file")
LIVE = replace(FILE, mode="live")


def encoding(file: Config = FILE, **options: Any) -> Config:
    """The config of a stream that encodes."""
    return replace(file, codec=CodecOptions(**options))


def decoding(file: Config = FILE, **options: Any) -> Config:
    """The config of a stream that decodes, to floats unless told otherwise."""
    return replace(file, encoding="snc1", codec=CodecOptions(**{"output": "pcm_f32le", **options}))


def transcoding(file: Config = FILE, **options: Any) -> Config:
    """The config of a stream that makes packets of packets."""
    return replace(file, encoding="snc1", codec=CodecOptions(output="snc1", **options))


class CodecStream:
    """One session and what it said."""

    def __init__(self, bench: CodecBench, config: Config, slot: int) -> None:
        self._bench = bench
        self.lease = Lease(bench.bundle.key, "stream", slot, 1)
        self.session = Session(f"s{slot}", bench.settings)
        self.said: list[ServerMessage] = []
        self.session.receive(config, bench.now)
        self.session.open(bench.make_task(task_options(config)), bench.bundle.key, bench.now)
        self.take()

    def send(self, message: ClientMessage | bytes) -> None:
        message = Audio(message) if isinstance(message, bytes) else message
        try:
            self.session.receive(message, self._bench.now)
        finally:
            self.take()

    def take(self) -> None:
        self.said += self.session.take_messages()

    @property
    def packets(self) -> bytes:
        return b"".join(message.data for message in self.said if isinstance(message, Packets))

    @property
    def pcm(self) -> bytes:
        return b"".join(message.data for message in self.said if isinstance(message, AudioOut))

    @property
    def samples(self) -> np.ndarray:
        return np.frombuffer(self.pcm, np.float32)

    @property
    def warnings(self) -> list[Warning]:
        return [message for message in self.said if isinstance(message, Warning)]


class CodecBench:
    """A toy codec, its program and its slots, which are full of what others might have left."""

    def __init__(
        self, folder: Path, write: Callable[[Path], Path] = write_codec, settings: SessionSettings | None = None
    ) -> None:
        path = write(folder)
        self.bundle = load_bundle(path)
        self.runner = runner_of(self.bundle)
        make_dirty(self.runner)
        self.program = program_of(self.bundle.manifest, path)
        self.make_task = task_maker(self.bundle.manifest, path)
        self.settings = settings or SessionSettings()
        self.now = 0.0
        self.batches: list[int] = []

    def open(self, config: Config, slot: int = 0) -> CodecStream:
        return CodecStream(self, config, slot)

    def run(self, *streams: CodecStream) -> None:
        """Run what is due, the steps of all streams together."""
        while self.step(*streams):
            pass

    def step(self, *streams: CodecStream) -> bool:
        """Run the next step of each stream in one batch; returns whether there was any."""
        steps = [(stream, stream.session.next_step(self.now)) for stream in streams if not stream.session.closed]
        due = [(stream, step) for stream, step in steps if step is not None]
        for stream in streams:
            stream.take()
        if not due:
            return False
        assert self.program is not None
        rows = [Row((stream.lease,), step.inputs, step.start) for stream, step in due]
        self.batches.append(len(rows))
        for (stream, _), result in zip(due, run_program("codec", self.program, self.runner, rows), strict=True):
            if result.error is not None:
                stream.session.fail(result.error)
            else:
                # The session keeps the error that ends it.
                with suppress(ModelFault):
                    stream.session.complete(result.outputs, self.now)
            stream.take()
        return True

    def whole(self, config: Config, parts: Iterable[bytes], slot: int = 0) -> CodecStream:
        """All of a stream, sent in `parts`."""
        stream = self.open(config, slot)
        for part in parts:
            stream.send(part)
            self.run(stream)
        stream.send(End())
        self.run(stream)
        return stream

    def encoded(self, samples: np.ndarray, config: Config = FILE, slot: int = 0) -> bytes:
        return self.whole(config, cuts(samples.astype(np.float32).tobytes(), 4000), slot).packets

    def decoded(self, data: bytes, config: Config | None = None, slot: int = 0) -> np.ndarray:
        return self.whole(config or decoding(), cuts(data, 4000), slot).samples


def cuts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def speech(n: int, seed: int = 0) -> np.ndarray:
    """Slow random audio, float32 `[n]` in [-1, 1]."""
    dice = np.random.default_rng(seed)
    levels = np.repeat(dice.uniform(-0.9, 0.9, n // 16 + 1), 16)[:n]
    return (levels + dice.uniform(-0.05, 0.05, n)).astype(np.float32)
