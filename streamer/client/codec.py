"""Whole files to packets of the server's neural codec, back, and to fewer packets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from streamer.client import containers
from streamer.client.access import Tls
from streamer.client.exchange import exchange, of_kind
from streamer.client.files import AudioSource, opened, peek, read_blocks
from streamer.client.formats import BYTES_PER_SAMPLE, SNC1
from streamer.client.stream import check_url, connect
from streamer.client.wav import open_wav, wav_file
from streamer.session.messages import AudioOut, CodecOptions, Config, Packets, ServerMessage

CODEC_TASK = "codec"
_BLOCK_S = 0.1


@dataclass(frozen=True, slots=True)
class Sound:
    """Decoded audio: mono PCM `data` in `encoding`."""

    data: bytes
    encoding: str
    sample_rate: int

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return len(self.data) / BYTES_PER_SAMPLE[self.encoding] / self.sample_rate

    def wav(self) -> bytes:
        """Return a WAV file."""
        return wav_file(self.data, self.encoding, self.sample_rate)


async def encode(
    url: str,
    audio: AudioSource,
    codec: CodecOptions = CodecOptions(),  # noqa: B008 - frozen
    *,
    model: str = "",
    api_key: str | None = None,
    tls: Tls = Tls(),  # noqa: B008 - frozen
) -> bytes:
    """Return a whole file as an SNC1 stream. WAV, flac and Ogg Opus are taken; the server decodes the latter two.

    `codec` chooses rate, packets and entropy coding; `model` is a name, or `name@version`, empty for the server's
    default. Raises `InvalidRequest` for audio that cannot be sent or decoded, what the server refuses it with,
    `OSError` for a file that cannot be read and `ConnectionError`.
    """
    with opened(audio) as (file, _):
        head, file = await asyncio.to_thread(peek, file)
        if containers.is_wav(head):
            wav = await asyncio.to_thread(open_wav, file)
            config = Config(wav.encoding, wav.format.sample_rate, 1)
            blocks = wav.blocks(_BLOCK_S)
        else:
            form = containers.compressed(head, "")
            config = Config(form.encoding, form.sample_rate, form.channels)
            blocks = read_blocks(file, form.encoding)
        messages, _ = await _run(url, replace(config, codec=replace(codec, output=SNC1)), blocks, model, api_key, tls)
    return b"".join(message.data for message in of_kind(Packets, messages))


async def decode(
    url: str,
    packets: AudioSource,
    codec: CodecOptions = CodecOptions(),  # noqa: B008 - frozen
    *,
    model: str = "",
    api_key: str | None = None,
    tls: Tls = Tls(),  # noqa: B008 - frozen
) -> Sound:
    """Return the audio of an SNC1 stream, in `codec.output` (16-bit PCM if empty) at `codec.output_rate`.

    Packets that are damaged or missing are concealed. Raises as `encode` does.
    """
    codec = replace(codec, output=codec.output or "pcm_s16le")
    messages, model_rate = await _recode(url, packets, codec, model, api_key, tls)
    data = b"".join(message.data for message in of_kind(AudioOut, messages))
    return Sound(data, codec.output, codec.output_rate or model_rate)


async def transcode(
    url: str,
    packets: AudioSource,
    codec: CodecOptions = CodecOptions(),  # noqa: B008 - frozen
    *,
    model: str = "",
    api_key: str | None = None,
    tls: Tls = Tls(),  # noqa: B008 - frozen
) -> bytes:
    """Return an SNC1 stream as another one: fewer bits, other packets, other entropy coding. Raises as `encode` does.

    Nothing is decoded to audio, so all that is left sounds as it did.
    """
    messages, _ = await _recode(url, packets, replace(codec, output=SNC1), model, api_key, tls)
    return b"".join(message.data for message in of_kind(Packets, messages))


async def _recode(
    url: str, packets: AudioSource, codec: CodecOptions, model: str, api_key: str | None, tls: Tls
) -> tuple[list[ServerMessage], int]:
    with opened(packets) as (file, _):
        head, file = await asyncio.to_thread(peek, file)
        config = Config(SNC1, containers.snc1_rate(head), 1, codec=codec)
        return await _run(url, config, read_blocks(file, SNC1), model, api_key, tls)


async def _run(
    url: str, config: Config, blocks: Iterator[bytes], model: str, api_key: str | None, tls: Tls
) -> tuple[list[ServerMessage], int]:
    """Return all messages of a stream, and the rate of its model."""
    check_url(url)
    config = replace(config, task=CODEC_TASK, mode="file", model=model, interim_results=False)
    async with connect(url, config, api_key=api_key, tls=tls) as stream:
        return await exchange(stream, blocks), stream.ready.model_rate
