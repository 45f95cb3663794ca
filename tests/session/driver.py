"""Runs scripts of client messages through a session and a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from streamer.audio.pcm import encode
from streamer.session.messages import Audio, ClientMessage, Config, Flow, Result, ServerMessage
from streamer.session.session import Session, SessionSettings
from streamer.tasks.recogniser import Recogniser
from streamer.tasks.search import GreedySearch
from streamer.tasks.transcribe import Transcribe
from tests.tasks import toy

Script = list[tuple[float, ClientMessage]]
SETTINGS = SessionSettings()


class Driver:
    """A host of one stream: takes messages at their times and runs every step at once, or `lazily` when told to."""

    def __init__(self, folder: Path, settings: SessionSettings = SETTINGS) -> None:
        self.folder = folder
        self.settings = settings
        self.session = Session("s1", settings)
        self.model = toy.ToyModel()
        self.said: list[ServerMessage] = []
        self.now = 0.0

    def task(self) -> Transcribe:
        config = self.session.config
        assert config is not None
        recogniser = Recogniser.of(toy.parsed(toy.manifest()), self.folder)
        return Transcribe(recogniser, config.endpointing, GreedySearch(recogniser))

    def send(self, message: ClientMessage, now: float | None = None, run: bool = True) -> None:
        self.now = self.now if now is None else now
        try:
            self.session.receive(message, self.now)
            if isinstance(message, Config):
                self.session.open(self.task(), "toy@1.0.0", self.now)
        finally:
            self.said += self.session.take_messages()
        if run:
            self.run()

    def run(self, most: int | None = None) -> None:
        """Run the steps that are due, `most` of them."""
        while (most is None or most > 0) and (step := self.session.next_step(self.now)) is not None:
            self.session.complete(self.model.run(step), self.now)
            self.said += self.session.take_messages()
            most = None if most is None else most - 1

    def reborn(self) -> None:
        """Go on with a session restored from JSON."""
        snapshot = json.loads(json.dumps(self.session.snapshot(), allow_nan=False))
        self.session = Session.restored(snapshot, self.settings, self.task(), self.now)

    def results(self) -> list[Result]:
        return [message for message in self.said if isinstance(message, Result)]

    def finals(self) -> list[Result]:
        return [result for result in self.results() if result.is_final]

    def text(self) -> str:
        return " ".join(final.text for final in self.finals())

    def without_flow(self) -> list[ServerMessage]:
        return [message for message in self.said if not isinstance(message, Flow)]


def config(rate: int = toy.RATE, mode: str = "file", **changes: object) -> Config:
    return Config("pcm_f32le", rate, 1, mode=mode, **changes)  # type: ignore[arg-type]


def packets(samples: np.ndarray, sizes: Iterable[int], encoding: str = "pcm_f32le") -> list[Audio]:
    """Cut `samples` into packets of `sizes` samples, the last size over and over."""
    cut, place, size = [], 0, 1
    sizes = iter(sizes)
    while place < len(samples):
        size = next(sizes, size)
        cut.append(Audio(encode(samples[place : place + size], encoding), place))
        place += size
    return cut


def play(driver: Driver, messages: Iterable[ClientMessage], after: Callable[[Driver], None] | None = None) -> Driver:
    for message in messages:
        driver.send(message)
        if after is not None and not driver.session.closed:
            after(driver)
    return driver
