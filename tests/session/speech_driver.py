"""Streams of text over the toy voice, without host and threads: sessions whose steps run together in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    AudioOut,
    ClientMessage,
    Config,
    End,
    ServerMessage,
    Spoken,
    SpokenWord,
    SynthesisOptions,
    Text,
)
from streamer.session.session import Session, SessionSettings
from streamer.tasks.base import TaskStep
from streamer.tasks.registry import program_of, task_maker
from streamer.work import Lease, Row
from tests.engine.support import make_dirty, runner_of
from tests.toys.voice import RATE, write_voice

FILE = Config("text", RATE, 1, task="synthesize", mode="file", synthesis=SynthesisOptions(output_encoding="pcm_f32le"))
LIVE = replace(FILE, mode="live")


def speaking(config: Config = FILE, **options: Any) -> Config:
    """The config of a stream of text, answered in floats."""
    return replace(config, synthesis=SynthesisOptions(**{"output_encoding": "pcm_f32le", **options}))


class SpeechStream:
    """One session and what it said."""

    def __init__(self, bench: SpeechBench, config: Config, slot: int) -> None:
        self._bench = bench
        self.lease = Lease(bench.bundle.key, "stream", slot, 1)
        self.session = Session(f"s{slot}", bench.settings)
        self.said: list[ServerMessage] = []
        self.session.receive(config, bench.now)
        self.session.open(bench.make_task(task_options(config)), bench.bundle.key, bench.now)
        self.take()

    def send(self, message: ClientMessage | str) -> None:
        message = Text(message) if isinstance(message, str) else message
        try:
            self.session.receive(message, self._bench.now)
        finally:
            self.take()

    def take(self) -> None:
        self.said += self.session.take_messages()

    @property
    def audio(self) -> list[AudioOut]:
        return [message for message in self.said if isinstance(message, AudioOut)]

    @property
    def pcm(self) -> bytes:
        return b"".join(message.data for message in self.audio)

    @property
    def samples(self) -> np.ndarray:
        return np.frombuffer(self.pcm, np.float32)

    @property
    def words(self) -> list[SpokenWord]:
        return [word for message in self.said if isinstance(message, Spoken) for word in message.words]


class SpeechBench:
    """A toy voice, its program and its slots, which are full of what others might have left."""

    def __init__(
        self, folder: Path, write: Callable[[Path], Path] = write_voice, settings: SessionSettings | None = None
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

    def open(self, config: Config = FILE, slot: int = 0) -> SpeechStream:
        return SpeechStream(self, config, slot)

    def run(self, *streams: SpeechStream) -> None:
        """Run what is due, the steps of all streams together."""
        while self.step(*streams):
            pass

    def step(self, *streams: SpeechStream) -> bool:
        """Run the next step of each stream in one batch; returns whether there was any."""
        steps = [(stream, stream.session.next_step(self.now)) for stream in streams if not stream.session.closed]
        due = [(stream, step) for stream, step in steps if step is not None]
        for stream in streams:
            stream.take()
        self.finish(due)
        return bool(due)

    def finish(self, due: Sequence[tuple[SpeechStream, TaskStep]]) -> None:
        """Run steps that were taken, in one batch."""
        if not due:
            return
        assert self.program is not None
        rows = [Row((stream.lease,), step.inputs, step.start) for stream, step in due]
        self.batches.append(len(rows))
        for (stream, _), result in zip(due, run_program("voice", self.program, self.runner, rows), strict=True):
            if result.error is not None:
                stream.session.fail(result.error)
            else:
                # The session keeps the error that ends it.
                with suppress(ModelFault):
                    stream.session.complete(result.outputs, self.now)
            stream.take()

    def whole(self, config: Config, *texts: str, slot: int = 0) -> SpeechStream:
        """All of a stream, whose text comes in `texts`; everything that can be spoken is, before more comes."""
        stream = self.open(config, slot)
        for text in texts:
            stream.send(text)
            self.run(stream)
        stream.send(End())
        self.run(stream)
        return stream
