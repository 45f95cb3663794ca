"""The voice as it is served: streams of text through a host in this process."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.flow_tts.speakers import Speaker
from streamer.bundle.loader import Bundle, load_bundle
from streamer.config import EngineSection, Settings
from streamer.host.assemble import running_host
from streamer.host.host import Host
from streamer.host.stream import Stream
from streamer.session.messages import AudioOut, Config, End, SynthesisOptions, Text

WORD_S = 0.2
"""From word to word where texts are streamed."""
_AT_ONCE = 8
_DEFAULT = SynthesisOptions()


@dataclass(frozen=True)
class Said:
    """What a stream said: f32[n] at `rate`, and the samples at which its messages begin."""

    samples: np.ndarray
    rate: int
    starts: tuple[int, ...]

    @property
    def joins(self) -> tuple[int, ...]:
        """Where one step of the model follows on another."""
        return self.starts[1:]


class ServedVoice:
    """A voice's bundle behind a host; made by `serving`. All methods raise the `StreamerError` of the stream."""

    def __init__(self, host: Host, bundle: Bundle, runner: asyncio.Runner) -> None:
        rate = bundle.manifest.sample_rate
        if bundle.manifest.task.kind != "synthesize" or rate is None:
            raise ValueError(f"expected the bundle of a voice, got {bundle.key}")
        self.rate = rate
        self._bundle = bundle.manifest.name
        self._host = host
        self._runner = runner

    def say(self, text: str, options: SynthesisOptions = _DEFAULT) -> Said:
        """Say a text that is there as a whole."""
        return self._runner.run(self._say([text], 0.0, self._config("file", options)))

    def say_streamed(self, texts: Sequence[str], options: SynthesisOptions = _DEFAULT) -> list[Said]:
        """Say texts whose words come one every `WORD_S` seconds, some of them at once."""
        return self._runner.run(self._say_all(texts, self._config("live", options)))

    def speaker(self, options: SynthesisOptions = _DEFAULT) -> Speaker:
        """Speak texts that are there as a whole."""

        def speak(text: str) -> tuple[np.ndarray, int]:
            said = self.say(text, options)
            return said.samples, said.rate

        return speak

    def _config(self, mode: str, options: SynthesisOptions) -> Config:
        options = replace(options, output_encoding="pcm_f32le")
        return Config("text", self.rate, 1, task="synthesize", model=self._bundle, mode=mode, synthesis=options)

    async def _say_all(self, texts: Sequence[str], config: Config) -> list[Said]:
        free = asyncio.Semaphore(_AT_ONCE)

        async def say(text: str) -> Said:
            async with free:
                return await self._say(words_of(text), WORD_S, config)

        return await asyncio.gather(*map(say, texts))

    async def _say(self, parts: Sequence[str], pause_s: float, config: Config) -> Said:
        stream = self._host.connect()
        sender = asyncio.create_task(_send(stream, config, parts, pause_s))
        answers: list[AudioOut] = []
        try:
            while (message := await stream.receive()) is not None:
                if isinstance(message, AudioOut):
                    answers.append(message)
            await sender
        finally:
            sender.cancel()
            stream.abort()
            await asyncio.gather(sender, return_exceptions=True)
        samples = np.frombuffer(b"".join(answer.data for answer in answers), "<f4")
        return Said(samples, config.sample_rate, tuple(answer.first_sample for answer in answers))


@contextmanager
def serving(bundle: Path) -> Iterator[ServedVoice]:
    """Serve one bundle in this process while the context lasts; raises `BundleError` if it cannot be."""
    settings = Settings(models=(bundle.name,), bundle_path=(bundle.resolve().parent,), engine=EngineSection(workers=1))
    with asyncio.Runner() as runner:
        hosting = running_host(settings)
        host = runner.run(hosting.__aenter__())
        try:
            yield ServedVoice(host, load_bundle(bundle), runner)
        finally:
            runner.run(hosting.__aexit__(None, None, None))


def words_of(text: str) -> list[str]:
    """Cut a text behind each space: joined, the parts are the text."""
    words = text.split(" ")
    return [f"{word} " for word in words[:-1]] + words[-1:]


async def _send(stream: Stream, config: Config, parts: Sequence[str], pause_s: float) -> None:
    await stream.send(config)
    for index, part in enumerate(parts):
        if index:
            await asyncio.sleep(pause_s)
        await stream.send(Text(part))
    await stream.send(End())
