"""A server of resumable streams in memory: what it says depends on every byte and on the place of every control."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streamer.client.reconnect import Reconnect, Timing
from streamer.client.resumed import ResumedTransport
from streamer.client.stream import ClientStream
from streamer.session.messages import (
    Audio,
    Cancel,
    ClientMessage,
    Config,
    Done,
    End,
    Finalize,
    Finalized,
    Flow,
    KeepAlive,
    Limits,
    Ready,
    Result,
    ServerMessage,
    SpeechEvent,
    Update,
    Warning,
)

LIMITS = Limits(65536, 2000, 10_000, 30_000, None)
# One byte is one sample.
CONFIG = Config("pcm_mulaw", 8000, 1)
WORD = 4


@dataclass(frozen=True)
class State:
    """All that the recogniser knows after `sample` samples and `controls` controls."""

    sample: int = 0
    controls: int = 0
    segment: int = 0
    segment_start: int = 0
    revision: int = 0
    longest: int = 20
    # A digest of all audio so far: a lost, doubled or moved byte changes every later text.
    digest: int = 7


class Recogniser:
    """A final every `longest` samples, an interim every `WORD`; `Update` sets `longest`, `Finalize` ends a segment."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.said: list[ServerMessage] = []

    def hear(self, byte: int) -> None:
        before = self.state
        self._set(sample=before.sample + 1, digest=(31 * before.digest + byte + 1) % 65521)
        if self.state.sample - before.segment_start >= before.longest:
            self._final()
        elif self.state.sample % WORD == 0:
            self._set(revision=before.revision + 1)
            self._say(is_final=False)
        if self.state.sample % 13 == 0:
            kind = "speech_start" if self.state.sample % 26 else "speech_end"
            self.said.append(SpeechEvent(kind, self.state.sample))

    def control(self, message: Finalize | Update | End) -> None:
        if isinstance(message, Update):
            self._set(longest=max(1, round(message.endpointing.max_segment_s)), controls=self.state.controls + 1)
            return
        if self.state.sample > self.state.segment_start:
            self._final()
        if isinstance(message, Finalize):
            self.said.append(Finalized(message.id, self.state.sample))
            self._set(controls=self.state.controls + 1)
        else:
            self.said.append(Done(self.state.sample, self.state.segment))

    def _final(self) -> None:
        self._set(revision=self.state.revision + 1)
        self._say(is_final=True)
        self._set(segment=self.state.segment + 1, segment_start=self.state.sample, revision=0)

    def _say(self, is_final: bool) -> None:
        state = self.state
        place = (state.segment_start, state.sample)
        self.said.append(Result(state.segment, state.revision, str(state.digest), 0, is_final, True, *place, 1.0))

    def _set(self, **changes: int) -> None:
        self.state = dataclasses.replace(self.state, **changes)


@dataclass
class Server:
    """Takes streams up by token. `acks` says after which audio message of a connection `Flow` comes, and how far back
    it acknowledges, in states; `cuts` after how many messages read or written each connection breaks.
    """

    cuts: deque[int] = dataclasses.field(default_factory=deque)
    acks: Callable[[int], int | None] = lambda index: 3 if index % 2 else None
    gives_tokens: bool = True
    model: str = "m@1"
    errors: deque[Exception | None] = dataclasses.field(default_factory=deque)
    """What the connections to come are refused with; None admits."""
    attempts: list[int] = dataclasses.field(default_factory=list)
    configs: list[Config] = dataclasses.field(default_factory=list)
    connections: list[Connection] = dataclasses.field(default_factory=list)
    states: list[State] = dataclasses.field(default_factory=list)

    async def dial(self, attempt: int) -> Connection:
        self.attempts.append(attempt)
        await asyncio.sleep(0)
        error = self.errors.popleft() if self.errors else None
        if isinstance(error, OSError):
            raise error
        self.connections.append(Connection(self, self.cuts.popleft() if self.cuts else None, error))
        return self.connections[-1]

    def token(self, state: State) -> str | None:
        if not self.gives_tokens:
            return None
        self.states.append(state)
        return str(len(self.states) - 1)


class Connection:
    """One connection: a transport of the client with the server at its other end."""

    def __init__(self, server: Server, cut: int | None, error: Exception | None) -> None:
        self.server = server
        self.got: list[ClientMessage] = []
        self.closed = False
        self._left = cut
        self._error = error
        self._recogniser = Recogniser(State())
        self._past = [State()]
        self._said: deque[ServerMessage] = deque()
        self._news = asyncio.Event()
        self._acked = 0
        self._frames = 0
        self._next_segment = 0
        # Cleared by a test to keep `write` waiting, and to let audio lie unprocessed.
        self.room = asyncio.Event()
        self.room.set()

    async def write(self, message: ClientMessage) -> None:
        await self.room.wait()
        if not self._is_cut():
            self.got.append(message)
            self._answer(message)

    async def read(self) -> ServerMessage:
        while not self._said:
            if self._left == 0:
                raise ConnectionError("cut")
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        if self._is_cut():
            raise ConnectionError("cut")
        return self._said.popleft()

    async def close(self) -> None:
        self.closed = True

    def cut(self) -> None:
        self._left = 0
        self._said.clear()
        self._news.set()

    def fail(self, error: Exception) -> None:
        """End the stream with an error of the server, after what was said."""
        self._error = error
        self._news.set()

    def say(self, message: ServerMessage) -> None:
        self._said.append(message)
        self._news.set()

    def _is_cut(self) -> bool:
        if self._left is None:
            return False
        if self._left:
            self._left -= 1
            return False
        self.cut()
        return True

    def _answer(self, message: ClientMessage) -> None:
        match message:
            case Config():
                self._open(message)
            case Audio():
                for byte in message.data:
                    self._recogniser.hear(byte)
                    self._past.append(self._recogniser.state)
                self._relay()
                # Only what has been said may be acknowledged.
                self._flow()
            case Cancel():
                self.say(Done(self._recogniser.state.sample, self._recogniser.state.segment, cancelled=True))
            case Finalize() | Update() | End():
                self._recogniser.control(message)
                self._past.append(self._recogniser.state)
            case KeepAlive():
                pass
        self._relay()

    def _relay(self) -> None:
        for said in self._recogniser.said:
            if not (isinstance(said, Result) and said.is_final and said.segment_id < self._next_segment):
                self.say(said)
        self._recogniser.said.clear()

    def _open(self, config: Config) -> None:
        self.server.configs.append(config)
        if self._error is not None:
            self._news.set()
            return
        state = State()
        if config.resume is not None:
            state = self.server.states[int(config.resume.token)]
            self._next_segment = config.resume.next_segment
        self._recogniser, self._past = Recogniser(state), [state]
        token = self.server.token(state)
        self.say(Ready("s", self.server.model, 8000, 8000, 1.0, 0.0, LIMITS, state.sample, state.controls, token))

    def _flow(self) -> None:
        back = self.server.acks(self._frames)
        self._frames += 1
        if back is None:
            return
        self._acked = max(self._acked, len(self._past) - 1 - back)
        state, now = self._past[self._acked], self._recogniser.state.sample
        if self.server.gives_tokens:
            token = self.server.token(state)
            self.say(Flow(now, now, 0.0, 0.0, state.sample, state.controls, token))
        else:
            self.say(Flow(now, now, 0.0, 0.0))


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def open_stream(server: Server, policy: Reconnect | None = None, clock: Clock | None = None) -> ClientStream:
    """A resumable stream to the scripted server; the caller closes it."""
    clock = clock or Clock()
    timing = Timing(clock, clock.sleep, lambda: 0.5)
    transport = ResumedTransport(server.dial, CONFIG, policy or Reconnect(), timing)
    return ClientStream(transport, await transport.open())


async def play(stream: ClientStream, actions: Iterable[ClientMessage]) -> list[ServerMessage]:
    """Do the actions, then `End`, reading beside; returns what the caller saw, less reports and warnings."""
    sender = asyncio.create_task(_act(stream, actions))
    seen = [message async for message in stream]
    await sender
    await stream.close()
    return [message for message in seen if not isinstance(message, Flow | Warning)]


async def _act(stream: ClientStream, actions: Iterable[ClientMessage]) -> None:
    for action in actions:
        match action:
            case Audio(data):
                await stream.send(data)
            case Finalize(id):
                await stream.finalize(id)
            case Update(endpointing):
                await stream.update(endpointing)
            case KeepAlive():
                await stream.keep_alive()
    await stream.end()
