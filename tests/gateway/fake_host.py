"""A host without models: echoes what it gets, and does to streams what a test asks."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from streamer.audio.snc1 import Header
from streamer.audio.snc1_writer import StreamWriter
from streamer.errors import BundleError, Draining, InvalidRequest, StreamerError, UnknownBundle
from streamer.host.callers import ANONYMOUS, Caller
from streamer.session.messages import (
    Audio,
    AudioOut,
    Cancel,
    ClientMessage,
    Config,
    Done,
    End,
    Finalize,
    Finalized,
    Limits,
    ModelInfo,
    Packets,
    Ready,
    Result,
    ServerMessage,
    Warning,
)
from streamer.tasks.codec_options import output_of

LIMITS = Limits(
    max_frame_bytes=65536, max_frame_ms=2000, max_ahead_ms=10_000, idle_timeout_ms=30_000, max_session_ms=None
)


@dataclass(frozen=True)
class FakeModelInfo(ModelInfo):
    name: str = "echo"
    version: str = "1"
    task: str = "transcribe"
    description: str = "says how many bytes it got"
    languages: tuple[str, ...] = ("en",)
    sample_rate: int = 16000
    chunk_ms: float = 160.0
    delay_ms: float = 200.0
    is_default: bool = True


# Frames of one book of 8 bits: a payload is a byte.
CODED = Header(16000, 320, 1, 8)


class FakeStream:
    """Answers each frame of audio with a final that holds the number of its bytes.

    A stream of the task codec is answered with a packet that holds this number modulo 256, or, where audio is asked
    for, with what it sent.
    """

    def __init__(self, error: BaseException | None, first_message: ServerMessage | None = None) -> None:
        self.got: list[ClientMessage] = []
        self.aborted = asyncio.Event()
        # Cleared by a test to keep `send` waiting.
        self.room = asyncio.Event()
        self.room.set()
        self._config_error = error
        self._first_message = first_message
        self._config: Config | None = None
        self._samples = 0
        self._segments = 0
        self._writer = StreamWriter(CODED)
        self._ended: BaseException | bool = False
        self._said: deque[ServerMessage] = deque()
        self._news = asyncio.Event()
        self._all_read = asyncio.Event()
        self._all_read.set()

    async def send(self, message: ClientMessage) -> None:
        await self.room.wait()
        self.got.append(message)
        if self._ended:
            return
        try:
            self._answer(message)
        except StreamerError as error:
            self.end(error)

    async def receive(self) -> ServerMessage | None:
        while not self._said and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self._said:
            message = self._said.popleft()
            if not self._said:
                self._all_read.set()
            return message
        if isinstance(self._ended, BaseException):
            raise self._ended
        return None

    async def settle(self) -> None:
        await self._all_read.wait()

    def abort(self) -> None:
        self.aborted.set()

    def say(self, message: ServerMessage) -> None:
        self._said.append(message)
        self._all_read.clear()
        self._news.set()

    def say_much(self) -> None:
        """More than the buffers of a connection hold."""
        for _ in range(400):
            self.say(Warning("loud", "x" * 65536))

    def end(self, error: BaseException | None = None) -> None:
        self._ended = error or True
        self._all_read.set()
        self._news.set()

    def _answer(self, message: ClientMessage) -> None:
        if isinstance(message, Config):
            self._open(message)
        elif self._config is None:
            raise InvalidRequest(f"expected config first, got {type(message).__name__.lower()}")
        elif isinstance(message, Audio):
            self._echo(message.data)
        elif isinstance(message, Finalize):
            self.say(Finalized(message.id, self._samples))
        elif isinstance(message, End | Cancel):
            self.say(Done(self._samples, self._segments, cancelled=isinstance(message, Cancel)))
            self.end()

    def _open(self, config: Config) -> None:
        if self._config_error is not None:
            self.end(self._config_error)
            return
        self._config = config
        ready = Ready("s1", "echo@1", config.sample_rate, 16000, 160.0, 200.0, LIMITS)
        self.say(self._first_message or ready)

    def _echo(self, data: bytes) -> None:
        if self._config.task == "codec":
            self._recode(data)
            return
        start, self._samples = self._samples, self._samples + len(data) // 2
        text = str(len(data))
        self.say(Result(self._segments, 0, text, len(text), True, True, start, self._samples, 1.0))
        self._segments += 1

    def _recode(self, data: bytes) -> None:
        if output_of(self._config.codec, self._config.encoding) == "snc1":
            header = b"" if self._writer.n_packets else self._writer.begin()
            packet = self._writer.packet(bytes((len(data) % 256,)), 1, is_keyframe=True)
            self.say(Packets(header + packet, self._samples, 320))
            self._samples += 320
        else:
            self.say(AudioOut(data, self._samples))
            self._samples += len(data) // 2


class FakeRollout:
    """Has models called `new`, and one that cannot be loaded, called `broken`."""

    def __init__(self) -> None:
        self.reloads = 0
        self.error: StreamerError | None = None

    async def load(self, name: str) -> str:
        if name == "broken":
            raise BundleError("bundle broken: manifest: field required")
        if name != "new":
            raise UnknownBundle(f"unknown bundle {name!r}, expected one of new@2.0.0")
        return "new@2.0.0"

    async def unload(self, name: str) -> str:
        if name != "new":
            raise UnknownBundle(f"unknown model {name!r}, expected one of new@2.0.0")
        return "new@2.0.0"

    async def reload(self) -> list[str]:
        self.reloads += 1
        if self.error is not None:
            raise self.error
        return ["new@2.0.0"]


class FakeHost:
    """Hands out fake streams; `error` is what the next streams end with when their config comes."""

    def __init__(self) -> None:
        self.ready = True
        self.rollout = FakeRollout()
        self.draining = False
        self.error: BaseException | None = None
        self.first_message: ServerMessage | None = None
        self.streams: list[FakeStream] = []
        self.callers: list[Caller] = []
        self.connected = asyncio.Event()
        self.drained_with: float | None = None
        self.refusals: list[StreamerError] = []

    def count_refusal(self, error: StreamerError) -> None:
        self.refusals.append(error)

    def connect(self, caller: Caller = ANONYMOUS) -> FakeStream:
        if self.draining:
            raise Draining("server is shutting down")
        self.streams.append(FakeStream(self.error, self.first_message))
        self.callers.append(caller)
        self.connected.set()
        return self.streams[-1]

    def models(self) -> tuple[FakeModelInfo, ...]:
        return (FakeModelInfo(),)

    def metrics_text(self, with_keys: bool = True) -> bytes:
        return b"streamer_open_streams 0.0\n" + (b'streamer_key_open_streams{key="ada"} 0.0\n' if with_keys else b"")

    async def drain(self, deadline_s: float) -> None:
        self.draining, self.drained_with = True, deadline_s
        for stream in self.streams:
            stream.end(Draining("server shut down before the stream ended"))
