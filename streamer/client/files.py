"""Whole files to transcripts, through a server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from streamer.client import containers, http
from streamer.client.access import Access, Tls
from streamer.client.exchange import exchange, of_kind
from streamer.client.formats import block_bytes
from streamer.client.models import list_models
from streamer.client.reconnect import Reconnect
from streamer.client.stream import ClientStream, check_url, connect
from streamer.client.wav import open_wav
from streamer.errors import InvalidRequest, UnknownBundle
from streamer.session.messages import Config, Decoding, Done, Hotword, Result
from streamer.transcripts.transcript import Segment, Transcript, Word, segments_of

AudioSource = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the content of a file, or a file opened for reading bytes."""

_BLOCK_S = 0.1
_PATH = "/v1/audio/transcriptions"
_TASK = "transcribe"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of a transcription, beside its audio."""

    model: str = ""
    language: str = ""
    hotwords: tuple[str, ...] = ()


async def transcribe(
    url: str,
    audio: AudioSource,
    *,
    model: str = "",
    language: str = "",
    hotwords: Sequence[str] = (),
    reconnect: Reconnect = Reconnect(),  # noqa: B008 - frozen
    api_key: str | None = None,
    tls: Tls = Tls(),  # noqa: B008 - frozen
) -> Transcript:
    """Return the text of a whole file.

    WAV is streamed, and outlives its connection. Other formats are uploaded as they are if `url` is a WebSocket one,
    and over gRPC flac and Ogg Opus are streamed; the server decodes them. `model` is a name, or `name@version`; empty
    is the server's default.

    Raises `InvalidRequest` for audio that cannot be sent or decoded, what the server refuses it with, `OSError` for a
    file that cannot be read and `ConnectionError`.
    """
    check_url(url)
    wishes = Wishes(model, language, tuple(hotwords))
    access = Access(api_key, tls)
    with opened(audio) as (file, name):
        head, file = await asyncio.to_thread(peek, file)
        if containers.is_wav(head):
            return await _stream_wav(url, file, name, wishes, reconnect, access)
        if urlsplit(url).scheme in ("ws", "wss"):
            return await _upload(url, file, name, wishes, access)
        form = containers.compressed(head)
        config = _config(form.encoding, form.sample_rate, form.channels, wishes)
        async with connect(url, config, api_key=api_key, tls=tls) as stream:
            return await _collect(stream, read_blocks(file, form.encoding), name, form.sample_rate)


@contextlib.contextmanager
def opened(audio: AudioSource) -> Iterator[tuple[BinaryIO, str]]:
    """Give the file to read, and what to call it; closes only what it opened."""
    if isinstance(audio, bytes | bytearray | memoryview):
        yield io.BytesIO(audio), "audio"
    elif isinstance(audio, str | os.PathLike):
        with Path(audio).open("rb") as file:
            yield file, str(audio)
    elif hasattr(audio, "read"):
        name = getattr(audio, "name", None)
        yield audio, name if isinstance(name, str) else "audio"
    else:
        raise TypeError(f"audio: expected a path, bytes or a binary file, got {type(audio).__name__}")


def peek(file: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Return the first bytes, and a file that still has them: it need not be one that can seek."""
    head = b""
    while len(head) < containers.HEAD_BYTES and (more := file.read(containers.HEAD_BYTES - len(head))):
        if not isinstance(more, bytes):
            raise TypeError(f"audio: expected a binary file, got one of {type(more).__name__}")
        head += more
    if not head:
        raise InvalidRequest("audio: expected a file, got nothing")
    return head, _Rejoined(head, file)  # type: ignore[return-value]  # read is all that is used


def read_blocks(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Read a compressed file in blocks that a stream takes in one message."""
    size = block_bytes(encoding)
    return iter(lambda: file.read(size), b"")


class _Rejoined:
    """A file with bytes put back before it."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = io.BytesIO(head)
        self._rest = rest

    def read(self, size: int) -> bytes:
        data = self._head.read(size)
        while len(data) < size and (more := self._rest.read(size - len(data))):
            data += more
        return data


async def _stream_wav(
    url: str, file: BinaryIO, name: str, wishes: Wishes, reconnect: Reconnect, access: Access
) -> Transcript:
    wav = await asyncio.to_thread(open_wav, file)
    config = _config(wav.encoding, wav.format.sample_rate, 1, wishes)
    opening = connect(url, config, resumable=True, reconnect=reconnect, api_key=access.api_key, tls=access.tls)
    async with opening as stream:
        return await _collect(stream, wav.blocks(_BLOCK_S), name, config.sample_rate)


def _config(encoding: str, sample_rate: int, channels: int, wishes: Wishes) -> Config:
    decoding = Decoding(hotwords=tuple(map(Hotword, wishes.hotwords)))
    return Config(
        encoding,
        sample_rate,
        channels,
        model=wishes.model,
        mode="file",
        language=wishes.language,
        interim_results=False,
        decoding=decoding,
    )


async def _collect(stream: ClientStream, blocks: Iterator[bytes], name: str, rate: int) -> Transcript:
    messages = await exchange(stream, blocks)
    (done,) = of_kind(Done, messages)
    segments = segments_of(of_kind(Result, messages), rate)
    return Transcript(name, done.audio_samples / rate, stream.ready.model, segments)


async def _upload(url: str, file: BinaryIO, name: str, wishes: Wishes, access: Access) -> Transcript:
    model = await _chosen(url, wishes.model, access)
    fields = [("model", model.split("@")[0]), ("response_format", "verbose_json")]
    fields += [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")]
    fields += [("language", wishes.language)] if wishes.language else []
    fields += [("keywords[]", phrase) for phrase in wishes.hotwords]
    plain = await asyncio.to_thread(http.post_file, url, _PATH, access, fields, file, Path(name).name)
    return _transcript(plain, name, model)


async def _chosen(url: str, wanted: str, access: Access) -> str:
    """Return the `name@version` of the model that is wanted, or of the default one."""
    models = [model for model in await list_models(url, access) if model.task == _TASK]
    for model in models:
        if wanted in (model.name, model.key) or (not wanted and model.is_default):
            return model.key
    known = ", ".join(model.key for model in models) or "none"
    raise UnknownBundle(f"model: expected one of {known}, got {wanted!r}")


def _transcript(plain: dict[str, Any], name: str, model: str) -> Transcript:
    words = [Word(word["word"], word["start"], word["end"], word["confidence"]) for word in plain["words"]]
    return Transcript(name, plain["duration"], model, tuple(_segments(plain["segments"], words)))


def _segments(plain: list[dict[str, Any]], words: list[Word]) -> Iterator[Segment]:
    """Yield the segments with their words, which come in one list, in order."""
    taken = 0
    for segment in plain:
        first, taken = taken, taken + len(segment["text"].split())
        yield Segment(
            start_s=segment["start"],
            end_s=segment["end"],
            text=segment["text"],
            confidence=segment["confidence"],
            end_of_turn=True,  # the answer does not tell
            words=tuple(words[first:taken]),
        )
