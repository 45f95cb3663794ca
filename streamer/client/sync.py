"""The client for programs without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Sequence
from contextlib import AsyncExitStack, closing
from types import TracebackType
from typing import Self, TypedDict

from streamer.client.access import Access, Tls
from streamer.client.background import Background
from streamer.client.codec import CODEC_TASK, Sound, decode, encode, transcode
from streamer.client.feeder import Feeder
from streamer.client.files import AudioSource, transcribe
from streamer.client.formats import BYTES_PER_SAMPLE
from streamer.client.microphone import Microphone
from streamer.client.models import list_models
from streamer.client.reconnect import Reconnect
from streamer.client.stream import check_url, connect
from streamer.client.synthesis import DEFAULT_RATE, speech_config
from streamer.session.messages import (
    AudioOut,
    CodecOptions,
    Config,
    Packets,
    Result,
    ServerMessage,
    Spoken,
    SynthesisOptions,
)
from streamer.session.messages import ModelInfo as Model
from streamer.transcripts.transcript import Transcript


class _Shown(TypedDict):
    api_key: str | None
    tls: Tls


class Client:
    """A server at `url`, for any number of files and streams from any threads.

    `url` is `ws://host:port` or `grpc://host:port`, encrypted `wss://` or `grpcs://`. Connections are opened when they
    are needed. Audio that is raw outlives lost connections, as `reconnect` says. Close the client, or use it in a
    `with` block, to hang up and end its thread.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        tls: Tls = Tls(),  # noqa: B008 - frozen
        reconnect: Reconnect = Reconnect(),  # noqa: B008 - frozen
    ) -> None:
        check_url(url)
        self._url = url
        self._access = Access(api_key, tls)
        self._reconnect = reconnect
        self._background = Background("streamer-client")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up all streams and end the thread. Idempotent."""
        self._background.close()

    def models(self) -> tuple[Model, ...]:
        """Return what the server serves."""
        return self._background.run(list_models(self._url, self._access))

    def transcribe(
        self, audio: AudioSource, *, model: str = "", language: str = "", hotwords: Sequence[str] = ()
    ) -> Transcript:
        """Return the text of a whole file: a path, its bytes, or a file opened in binary mode.

        See the function `transcribe` for formats and errors.
        """
        work = transcribe(
            self._url,
            audio,
            model=model,
            language=language,
            hotwords=hotwords,
            reconnect=self._reconnect,
            **self._shown,
        )
        return self._background.run(work)

    def encode(
        self,
        audio: AudioSource,
        codec: CodecOptions = CodecOptions(),  # noqa: B008 - frozen
        *,
        model: str = "",
    ) -> bytes:
        """Return a whole file as an SNC1 stream of the server's codec. See the function `encode`."""
        return self._background.run(encode(self._url, audio, codec, model=model, **self._shown))

    def decode(
        self,
        packets: AudioSource,
        codec: CodecOptions = CodecOptions(),  # noqa: B008 - frozen
        *,
        model: str = "",
    ) -> Sound:
        """Return the audio of an SNC1 stream. See the function `decode`."""
        return self._background.run(decode(self._url, packets, codec, model=model, **self._shown))

    def transcode(
        self,
        packets: AudioSource,
        codec: CodecOptions = CodecOptions(),  # noqa: B008 - frozen
        *,
        model: str = "",
    ) -> bytes:
        """Return an SNC1 stream as another one, of fewer bits or other packets. See the function `transcode`."""
        return self._background.run(transcode(self._url, packets, codec, model=model, **self._shown))

    def codec_stream(self, chunks: Iterable[bytes], config: Config) -> Generator[bytes, None, None]:
        """Yield packets, or decoded audio, while `chunks` are sent; `config` has the task `codec`.

        Chunks are taken, and errors raised, as `stream` does it.
        """
        with closing(self._exchange(chunks, config)) as messages:
            for message in messages:
                if isinstance(message, Packets | AudioOut):
                    yield message.data

    def stream(self, chunks: Iterable[bytes], config: Config) -> Generator[Result, None, None]:
        """Yield results while the audio in `chunks` is sent, in the format that `config` declares.

        Chunks may be of any size, and may come as slowly as speech does: they are taken on a thread of their own. The
        stream begins with the iteration. It ends well after the last chunk and its last words; closing the generator,
        or an exception, hangs up. Raises what the server ends the stream with, `ConnectionError`, and what `chunks`
        raises.
        """
        with closing(self._exchange(chunks, config)) as messages:
            for message in messages:
                if isinstance(message, Result):
                    yield message

    def synthesize(
        self,
        text: str | Iterable[str],
        options: SynthesisOptions = SynthesisOptions(),  # noqa: B008 - frozen
        *,
        sample_rate: int = DEFAULT_RATE,
        model: str = "",
        mode: str = "file",
    ) -> Generator[AudioOut | Spoken, None, None]:
        """Yield the audio of `text` while it is made, and where its words are if `options.word_times` asks for it.

        See the function `synthesize`. An iterable is taken on a thread of its own; errors are raised as `stream` does.
        """
        config = speech_config(options, sample_rate, model=model, mode=mode)
        with closing(self._exchange([text] if isinstance(text, str) else text, config)) as messages:
            for message in messages:
                if isinstance(message, AudioOut | Spoken):
                    yield message

    def speak(
        self,
        text: str | Iterable[str],
        options: SynthesisOptions = SynthesisOptions(),  # noqa: B008 - frozen
        *,
        sample_rate: int = DEFAULT_RATE,
        model: str = "",
    ) -> Sound:
        """Return all audio of `text`."""
        spoken = self.synthesize(text, options, sample_rate=sample_rate, model=model)
        data = b"".join(message.data for message in spoken if isinstance(message, AudioOut))
        return Sound(data, options.output_encoding or "pcm_s16le", sample_rate)

    def _exchange(
        self, chunks: Iterable[bytes] | Iterable[str], config: Config
    ) -> Generator[ServerMessage, None, None]:
        run = self._background.run
        connection = AsyncExitStack()
        feeder: Feeder | None = None
        try:
            # Streams of other kinds are whole on one connection or not at all.
            is_resumable = config.encoding in BYTES_PER_SAMPLE and not config.vad.gate and config.task != CODEC_TASK
            opening = connect(
                self._url,
                config,
                resumable=is_resumable,
                reconnect=self._reconnect,
                **self._shown,
            )
            stream = run(connection.enter_async_context(opening))
            feeder = Feeder(chunks, config, stream, self._background)
            while (message := run(feeder.receive())) is not None:
                yield message
        finally:
            if feeder is not None:
                feeder.stop()
            self._hang_up(connection)

    def microphone(
        self,
        *,
        sample_rate: int = 16_000,
        device: int | str | None = None,
        duration_s: float | None = None,
        model: str = "",
        language: str = "",
        interim_results: bool = True,
        source: Microphone | None = None,
    ) -> Generator[Result, None, None]:
        """Yield results while speaking, until the generator is closed, `duration_s` is over or `source` is stopped.

        Needs the extra `microphone`. `source` is a `Microphone` made before, to stop it from elsewhere.
        """
        microphone = source or Microphone(sample_rate, device, duration_s=duration_s)
        config = Config(
            microphone.encoding,
            microphone.sample_rate,
            1,
            model=model,
            language=language,
            interim_results=interim_results,
        )
        return self._record(microphone, config)

    def _record(self, microphone: Microphone, config: Config) -> Generator[Result, None, None]:
        try:
            yield from self.stream(microphone, config)
        finally:
            microphone.stop()

    @property
    def _shown(self) -> _Shown:
        return {"api_key": self._access.api_key, "tls": self._access.tls}

    def _hang_up(self, connection: AsyncExitStack) -> None:
        try:
            self._background.run(connection.aclose())
        except (RuntimeError, asyncio.CancelledError):
            # The client was closed before, and hung up then.
            return
