"""Gateways on an event loop of their own, beside the thread that drives the browser."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile

from streamer.config import EngineSection, Settings
from streamer.errors import InvalidRequest
from streamer.gateway.server import Gateway
from streamer.host.assemble import running_host
from streamer.session.messages import Audio, Config, End, Ready, Result
from tests.gateway.fake_host import LIMITS, FakeHost, FakeStream
from tests.ports import free_port

SLOTS = 2
READY = Ready("s1", "echo@1", 16000, 16000, 160.0, 200.0, LIMITS, resume_token="token-of-s1")


class Loop:
    """An event loop on a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run `work` there and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Site:
    """A gateway over `host` that can go away and come back at the same address."""

    def __init__(self, loop: Loop, host: Any, **settings: Any) -> None:
        self.host = host
        self._loop = loop
        self._settings = {"grpc_port": 0, "http_port": 0, **settings}
        self._gateway: Gateway | None = None
        self.port = free_port()

    def open(self) -> None:
        """Serve, at the address of before if there was one."""

        async def start() -> int:
            settings = Settings(**{**self._settings, "http_port": self.port})
            self._gateway = Gateway(self.host, settings)
            return (await self._gateway.start()).http_port

        self.port = self._loop.run(start())

    def close(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._gateway is not None:
            self._loop.run(self._gateway.stop())

    def url(self, name: str = "localhost") -> str:
        return f"http://{name}:{self.port}/"

    def say(self, message: Any) -> None:
        """Let the latest stream of a host of tests say `message`."""

        async def say() -> None:
            self.host.streams[-1].say(message)

        self._loop.run(say())

    def heard(self, wav: bytes) -> str:
        """What a stream of the same host hears in a file, which is what the command line hears."""
        sound, rate = soundfile.read(io.BytesIO(wav), dtype="int16")

        async def hear() -> str:
            stream = self.host.connect()
            await stream.send(Config("pcm_s16le", rate, 1, mode="file"))
            for at in range(0, len(sound), rate // 2):
                await stream.send(Audio(sound[at : at + rate // 2].astype("<i2").tobytes()))
            await stream.send(End())
            finals = []
            while (message := await stream.receive()) is not None:
                if isinstance(message, Result) and message.is_final:
                    finals.append(message.text)
            return " ".join(finals)

        return str(self._loop.run(hear()))

    @contextmanager
    def full(self) -> Iterator[None]:
        """Take every slot of the recogniser."""

        async def take() -> list[Any]:
            streams = [self.host.connect() for _ in range(SLOTS)]
            for stream in streams:
                await stream.send(Config("pcm_s16le", 16000, 1))
                assert isinstance(await stream.receive(), Ready)
            return streams

        async def give_back(streams: list[Any]) -> None:
            for stream in streams:
                stream.abort()

        streams = self._loop.run(take())
        try:
            yield
        finally:
            self._loop.run(give_back(streams))


class Process:
    """A `streamer serve` of its own that can be killed, and started again at the same address."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port()

    def open(self) -> None:
        """Start, and wait until it says that it is ready."""
        ports = ("--grpc-port", "0", "--http-port", str(self.port))
        few = ("--model", "asr-en", "--workers", "1", "--max-streams", "2")
        command = [sys.executable, "-m", "streamer.cli.main", "serve", *few, *ports]
        environment = {**os.environ, "STREAMER_STATE_DIR": str(self._state)}
        log = self._state.with_suffix(".log")
        with log.open("w") as errors:
            self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self._process.stdout is not None
        ready = next((line for line in self._process.stdout if line.startswith("streamer is ready")), None)
        assert ready is not None, log.read_text()
        self.port = int(re.findall(r"ws://[^:]+:(\d+)", ready)[0])

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            assert self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def url(self, name: str = "localhost") -> str:
        return f"http://{name}:{self.port}/"


@contextmanager
def process(state: Path) -> Iterator[Process]:
    server = Process(state)
    server.open()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def looping() -> Iterator[Loop]:
    loop = Loop()
    try:
        yield loop
    finally:
        loop.close()


@contextmanager
def site_of(loop: Loop, host: Any, **settings: Any) -> Iterator[Site]:
    site = Site(loop, host, **settings)
    site.open()
    try:
        yield site
    finally:
        site.close()


@contextmanager
def recogniser(loop: Loop) -> Iterator[Any]:
    """A host of asr-en with few slots."""
    running = running_host(Settings(engine=EngineSection(workers=1, max_streams=SLOTS)))
    host = loop.run(running.__aenter__())
    try:
        yield host
    finally:
        loop.run(running.__aexit__(None, None, None))


class SayingStream(FakeStream):
    """Says one interim and one final of a text of the test's, whatever it hears."""

    def __init__(self, text: str, error: BaseException | None, resumes_at: int | None) -> None:
        super().__init__(error)
        self._text = text
        self._resumes_at = resumes_at

    def _open(self, config: Config) -> None:
        if config.resume is not None and self._resumes_at is None:
            raise InvalidRequest("resume.token: expected a token that this server can check, got another one")
        self._first_message = replace(READY, wire_rate=config.sample_rate, next_sample=self._resumes_at or 0)
        super()._open(config)

    def _echo(self, data: bytes) -> None:
        if not self._segments:
            heard = Audio(data)
            end = len(heard.data) // 2
            for is_final in (False, True):
                text = self._text
                self.say(Result(0, int(is_final), text, 0, is_final, is_final, 0, end, 0.5))
            self._segments = 1
        self._samples += len(data) // 2


class SayingHost(FakeHost):
    """A server that says what a test wants."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text
        # From which sample on a stream that comes back is wanted; None if none is known here.
        self.resumes_at: int | None = None

    def connect(self, *caller: Any) -> FakeStream:
        self.streams.append(SayingStream(self.text, self.error, self.resumes_at))
        return self.streams[-1]
