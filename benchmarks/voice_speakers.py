"""What the benchmarks of voices share: texts, a listener, and who speaks: our server, and other programs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Protocol

from streamer.cli.process_stats import cpu_seconds
from streamer.cli.server_process import running_server
from streamer.client import connect
from streamer.client.synthesis import speech_config
from streamer.session.messages import AudioOut, Config, SynthesisOptions

SENTENCES = (
    ("The ferry leaves the harbour at nine,", "and the last one is back before midnight."),
    ("If you want honey for the whole winter,", "ask the old man who lives behind the mill."),
    ("Nobody in the village had seen the river so high,", "not even those who were born beside it."),
    ("Please put the large box on the upper shelf,", "because the lower one is already full."),
    ("When the music stopped for a moment,", "we could hear the rain on the roof of the hall."),
    ("The train to the north was late again,", "so the children played cards in the waiting room."),
    ("He opened the letter with a kitchen knife,", "read it twice, and put it back on the table."),
    ("Turn left at the second traffic light,", "then keep going until you see the library."),
    ("Most of the apples were still green,", "yet a few near the wall were ready to be picked."),
    ("She told the story in a very low voice,", "as if somebody were asleep in the next room."),
)
"""Two clauses each."""
_HEADER_BYTES = 44
_READ_BYTES = 4096
# Wall time of one text, over which a process's whole standard output must have come.
_PATIENCE_S = 60.0


def long_text(characters: int, first: int = 0) -> list[str]:
    """Sentences in turn, from the one numbered `first` on, until they have so many characters."""
    found: list[str] = []
    for number in cycle(range(len(SENTENCES))):
        if sum(map(len, found)) >= characters:
            return found
        found.append(" ".join(SENTENCES[(first + number) % len(SENTENCES)]))
    raise AssertionError("a cycle has no end")


class Speaker(Protocol):
    """Speaks texts, several at once if asked to."""

    name: str

    def speak(self, text: str, rest: str = "") -> AsyncGenerator[float, None]:
        """Yield 0 when the text is handed over, then the seconds of each portion of audio that comes, for a listener.

        `rest` is text that is handed over once the first audio is there; a program speaks what it was started with.
        """
        ...

    def read(self, text: str) -> AsyncGenerator[float, None]:
        """Yield the seconds of each portion of audio, made as fast as it can be."""
        ...

    def play(self, sentences: list[str], lead_s: float, listener: Listener) -> AsyncGenerator[float, None]:
        """The same for a long text that is heard while it is made, at most `lead_s` ahead of the listener."""
        ...

    def cpu_s(self) -> float:
        """Processor seconds so far, of all that it has said."""
        ...


@dataclass
class Listener:
    """Plays audio from when the first of it comes; runs dry where more comes too late. Times are of one clock."""

    audio_s: float = 0.0
    dry: int = 0
    longest_dry_s: float = 0.0
    _until: float | None = field(default=None, repr=False)

    def ahead_s(self, now: float) -> float:
        """What is left to hear."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def hear(self, seconds: float, now: float) -> None:
        """Audio has come."""
        if self._until is not None and now > self._until:
            self.dry += 1
            self.longest_dry_s = max(self.longest_dry_s, now - self._until)
        self._until = max(now, self._until or now) + seconds
        self.audio_s += seconds


class Program:
    """A program that writes WAV of 16 bits to its standard output, started once for each text."""

    def __init__(self, name: str, command: tuple[str, ...], rate: int) -> None:
        self.name = name
        self._command = command
        self._rate = rate

    async def speak(self, text: str, rest: str = "") -> AsyncGenerator[float, None]:
        """As `Speaker`; the time to start the program is that of its first audio."""
        yield 0.0
        process = await asyncio.create_subprocess_exec(
            *self._command, text, *self._output(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await process.stdout.readexactly(_HEADER_BYTES)
                while data := await process.stdout.read(_READ_BYTES):
                    yield len(data) / 2 / self._rate
        finally:
            if process.returncode is None and not process.stdout.at_eof():
                process.kill()
            await process.wait()
        if process.returncode:
            raise RuntimeError(f"{self.name} ended with status {process.returncode}")

    def read(self, text: str) -> AsyncGenerator[float, None]:
        """As `Speaker`."""
        return self.speak(text)

    async def play(self, sentences: list[str], lead_s: float, listener: Listener) -> AsyncGenerator[float, None]:
        """As `Speaker`: the next sentence is begun when less than `lead_s` is left to hear."""
        clock = asyncio.get_running_loop().time
        for sentence in sentences:
            await asyncio.sleep(max(0.0, listener.ahead_s(clock()) - lead_s))
            async with aclosing(self.speak(sentence)) as sound:
                async for seconds in sound:
                    if seconds:
                        yield seconds

    def cpu_s(self) -> float:
        """Of all children that have ended."""
        times = os.times()
        return times.children_user + times.children_system

    def _output(self) -> tuple[str, ...]:
        return ("-o", "/dev/stdout") if self._command[0] == "flite" else ()


def programs() -> list[Program]:
    """espeak-ng and flite with the voices of the evaluation, at their own rates."""
    return [
        Program("espeak-ng", ("espeak-ng", "-v", "en-us", "--stdout"), 22_050),
        Program("flite slt", ("flite", "-voice", "slt", "-t"), 16_000),
    ]


class Server:
    """A server of ours, over one of its transports; made by `serving`."""

    def __init__(self, name: str, url: str, pid: int, model: str, pieces: str) -> None:
        self.name = name
        self._url = url
        self._pid = pid
        self._model = model
        self._options = SynthesisOptions(pieces=pieces)

    async def speak(self, text: str, rest: str = "") -> AsyncGenerator[float, None]:
        """As `Speaker`, on a stream that is opened before."""
        config = speech_config(self._options, model=self._model, mode="live")
        async with connect(self._url, config) as stream:
            # The blank tells that the last word is whole.
            await stream.say(f"{text} ")
            yield 0.0
            is_first = True
            async for message in stream:
                if isinstance(message, AudioOut):
                    yield len(message.data) / 2 / config.sample_rate
                    if is_first:
                        is_first = False
                        await stream.say(rest)
                        await stream.end()

    async def read(self, text: str) -> AsyncGenerator[float, None]:
        """As `Speaker`."""
        async for seconds in self._answer(text, speech_config(self._options, model=self._model)):
            yield seconds

    async def play(self, sentences: list[str], lead_s: float, listener: Listener) -> AsyncGenerator[float, None]:
        """As `Speaker`; the server reckons with a listener of its own."""
        options = replace(self._options, lead_s=lead_s)
        async for seconds in self._answer(" ".join(sentences), speech_config(options, model=self._model, mode="live")):
            yield seconds

    async def _answer(self, text: str, config: Config) -> AsyncGenerator[float, None]:
        async with connect(self._url, config) as stream:
            await stream.say(text)
            await stream.end()
            async for message in stream:
                if isinstance(message, AudioOut):
                    yield len(message.data) / 2 / config.sample_rate

    def cpu_s(self) -> float:
        """Of the server's process."""
        return cpu_seconds(self._pid) or 0.0


@contextmanager
def serving(model: str, bundle_path: str, workers: int, pieces: str) -> Iterator[dict[str, Server]]:
    """A server of one's own, ready, by transport: `grpc` and `ws`."""
    places = ("--bundle-path", bundle_path) if bundle_path else ()
    with running_server([*places, "--model", model, "--workers", str(workers)]) as process:
        yield {
            "grpc": Server("streamer, gRPC", process.grpc, process.pid, model, pieces),
            "ws": Server("streamer, WebSocket", process.websocket, process.pid, model, pieces),
        }
