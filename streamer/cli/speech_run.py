"""One invocation of `streamer synthesize`: texts, where their sound goes, and what speaks them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from streamer.cli.jobs import default_jobs, for_files, is_progress_shown, quieten
from streamer.cli.progress import BatchProgress, complain
from streamer.cli.speech_sinks import OpenSink
from streamer.cli.spoken_words import SpokenWords, write_words
from streamer.cli.text_sources import TextInput
from streamer.config import Settings
from streamer.session.messages import AudioOut, ServerMessage, Spoken, SynthesisOptions, Warning

if TYPE_CHECKING:
    from streamer.host import Host

_SAMPLE_BYTES = 2

Sent = Callable[[str], None]


class Voice(Protocol):
    """What speaks: a model in this process, or a server."""

    model: str
    """`name@version`, or what the server calls it; may be empty."""
    sample_rate: int

    def say(self, parts: Generator[str, None, None], sent: Sent) -> AsyncGenerator[ServerMessage, None]:
        """Speak the text in `parts`, which may block; `sent` is told of each. Close it in any case."""


@dataclass(slots=True)
class SpeechRun:
    """Speaks texts, `jobs` at a time; an exit status of 1 tells that one failed, or more."""

    texts: list[TextInput]
    open_sink: OpenSink
    words: Path | None
    jobs: int
    quiet: bool
    failed: list[TextInput] = field(default_factory=list)

    async def speak(self, voice: Voice) -> None:
        """Speak all texts; one that fails is told in a line and stops no other."""
        from streamer.cli.in_process import run_jobs

        with BatchProgress(len(self.texts), is_progress_shown(self.quiet), "text") as progress:

            def failed(item: TextInput, reason: str) -> None:
                self.failed.append(item)
                complain(item.name, reason)
                progress.finished()

            await run_jobs(self.texts, self.jobs, lambda item: self._speak(item, voice, progress), failed)
        if not self.quiet:
            typer.echo(progress.summary(len(self.failed)), err=True)

    async def _speak(self, item: TextInput, voice: Voice, progress: BatchProgress) -> None:
        words = SpokenWords(voice.sample_rate, voice.model)
        with self.open_sink(item) as sink:
            await asyncio.to_thread(sink.begin, voice.sample_rate)
            async with aclosing(voice.say(item.parts(), words.text.append)) as said:
                async for message in said:
                    match message:
                        case AudioOut(data):
                            words.n_samples += len(data) // _SAMPLE_BYTES
                            progress.fed(len(data) / _SAMPLE_BYTES / voice.sample_rate)
                            # Writing may block, and the loop has other streams.
                            await asyncio.to_thread(sink.take, data)
                        case Spoken(spoken):
                            words.words.extend(spoken)
                        case Warning():
                            complain(item.name, message.message)
            await asyncio.to_thread(sink.finish)
            if self.words is not None:
                write_words(self.words, words)
        progress.finished()


class LocalVoice:
    """A model on a host of this process."""

    def __init__(self, host: Host, model: str, sample_rate: int, options: SynthesisOptions) -> None:
        self.model, self.sample_rate = model, sample_rate
        self._host = host
        self._options = options

    def say(self, parts: Generator[str, None, None], sent: Sent) -> AsyncGenerator[ServerMessage, None]:
        """Speak at the priority of files, as fast as can be."""
        from streamer.cli.in_process import speech
        from streamer.client.synthesis import speech_config

        config = speech_config(self._options, self.sample_rate, model=self.model)
        return speech(self._host, config, parts, sent)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and how to come in."""

    url: str
    api_key: str | None
    ca_file: Path | None


class RemoteVoice:
    """A server's model."""

    def __init__(self, server: Server, model: str, sample_rate: int, options: SynthesisOptions) -> None:
        self.model, self.sample_rate = model, sample_rate
        self._server = server
        self._options = options

    async def say(self, parts: Generator[str, None, None], sent: Sent) -> AsyncGenerator[ServerMessage, None]:
        """Speak as fast as the server can."""
        from streamer.client import Tls, synthesize
        from streamer.host.reading import read_ahead

        async def told() -> AsyncIterator[str]:
            async with aclosing(read_ahead(parts)) as ahead:
                async for part in ahead:
                    yield part
                    sent(part)

        said = synthesize(
            self._server.url,
            told(),
            self._options,
            sample_rate=self.sample_rate,
            model=self.model,
            api_key=self._server.api_key,
            tls=Tls(ca_file=self._server.ca_file),
        )
        async for message in said:
            yield message


@asynccontextmanager
async def local_voice(
    settings: Settings, model: str, rate: int | None, options: SynthesisOptions, jobs: int
) -> AsyncIterator[Voice]:
    """Load the model `model`, or the default voice; raises `UnknownBundle` and `BundleError`."""
    from streamer.cli.chosen_model import key_of, manifest_of, only
    from streamer.client.synthesis import DEFAULT_RATE
    from streamer.host.assemble import running_host

    manifest = manifest_of(settings, model, "synthesize")
    key = key_of(manifest)
    sample_rate = rate or manifest.sample_rate or DEFAULT_RATE
    chosen = for_files(only(settings, key), jobs)
    quieten(chosen)
    async with running_host(chosen) as host:
        yield LocalVoice(host, key, sample_rate, options)


def jobs_of(settings: Settings, jobs: int | None, n_texts: int) -> int:
    """Return how many texts are spoken at a time."""
    return min(jobs or default_jobs(settings), n_texts)
