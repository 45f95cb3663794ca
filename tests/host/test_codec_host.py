"""Codec streams through the host: packets and audio of many streams, those who leave, and those who do not read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.audio.snc1 import Header, Packet, encode_header, encode_packet
from streamer.bundle.loader import load_bundle
from streamer.bundle.runtime import Runtime
from streamer.errors import InvalidRequest, Overloaded, SlowReader
from streamer.host.catalogue import Catalogue, task_options
from streamer.session.messages import Audio, End
from tests.clock import Clock
from tests.gateway.serving import with_loop
from tests.host.codec_host import data_of, decoded, encoded, hosting, opened, rest, send_all
from tests.session.codec_driver import LIVE, decoding, encoding, speech, transcoding
from tests.toys.codec import FRAME, RATE, codec_expected, write_codec


@with_loop
async def test_there_and_back(tmp_path: Path) -> None:
    """What is encoded by a host is decoded by it."""
    audio = speech(RATE)
    async with hosting(tmp_path) as host:
        data = await encoded(host, audio)
        np.testing.assert_allclose(await decoded(host, data), codec_expected(audio), atol=1e-6)
        (model,) = host.models()
        assert (model.task, model.sample_rate) == ("codec", RATE)
        assert 'streamer_audio_seconds_total{mode="file"} 2.0' in host.metrics_text().decode()


@with_loop
async def test_interleaved_streams_are_as_alone(tmp_path: Path) -> None:
    """Streams of all kinds at once, each in its own pace, say what each says alone."""
    audio = [speech(RATE // 2, seed) for seed in range(4)]
    options: list[dict[str, Any]] = [
        {"bitrate": 800},
        {"entropy": "network"},
        {"entropy": "tables", "fec": True},
        {"entropy": "float", "frames_per_packet": 16},
    ]
    async with hosting(tmp_path) as host:
        alone = [await encoded(host, each, encoding(**option)) for each, option in zip(audio, options, strict=True)]
        together = await asyncio.gather(
            *(encoded(host, each, encoding(**option)) for each, option in zip(audio, options, strict=True)),
            *(decoded(host, each) for each in alone),
        )
        assert together[:4] == alone
        for each, option, heard in zip(audio, options, together[4:], strict=True):
            books = 1 if "bitrate" in option else 4
            np.testing.assert_allclose(heard, codec_expected(each, books), atol=1e-6)


@with_loop
async def test_live_packets_come_as_audio_goes(tmp_path: Path) -> None:
    """Every packet leaves before the next one's audio comes; audio comes back the same way."""
    audio = speech(20 * FRAME)
    async with hosting(tmp_path) as host:
        encoder, decoder = await opened(host, encoding(LIVE)), await opened(host, decoding(LIVE))
        heard = b""
        for index in range(20):
            await encoder.send(Audio(audio[index * FRAME : (index + 1) * FRAME].tobytes()))
            packet = data_of([await encoder.receive()])
            await decoder.send(Audio(packet))
            heard += data_of([await decoder.receive()])
        await encoder.send(End())
        await decoder.send(Audio(data_of(await rest(encoder))))
        await decoder.send(End())
        heard += data_of(await rest(decoder))
        np.testing.assert_allclose(np.frombuffer(heard, np.float32), codec_expected(audio), atol=1e-6)


@with_loop
async def test_who_leaves_frees_a_slot(tmp_path: Path) -> None:
    """Of every kind, in the middle of a packet; who comes next is served as if alone."""
    audio = speech(RATE // 4)
    async with hosting(tmp_path, slots=3) as host:
        data = await encoded(host, audio)
        streams = [await opened(host, config) for config in (encoding(), decoding(), transcoding(bitrate=800))]
        for stream, part in zip(streams, (audio.tobytes()[:3000], data[:77], data[:99]), strict=True):
            await stream.send(Audio(part))
        crowded = host.connect()
        await crowded.send(encoding())
        with pytest.raises(Overloaded):
            await crowded.receive()
        for stream in streams:
            stream.abort()
        again = await asyncio.gather(decoded(host, data), decoded(host, data), encoded(host, audio))
        for heard in again[:2]:
            np.testing.assert_allclose(heard, codec_expected(audio), atol=1e-6)
        assert again[2] == data


@with_loop
async def test_a_reader_sets_the_pace(tmp_path: Path) -> None:
    """A few bytes may be hours of audio: no more is decoded than a reader takes, and nothing of it is lost."""
    silence = Packet(0, 1, True, True, False, b"")
    header = Header(RATE, FRAME, 4, 4, frames_per_packet=16, dtx=True)
    packets = b"".join(encode_packet(replace(silence, seq=seq % 256)) for seq in range(3000))
    async with hosting(tmp_path) as host:
        stream = await opened(host, decoding())
        sending = asyncio.create_task(send_all(stream, encode_header(header) + packets, 500))
        while not stream.outbox.is_full:  # noqa: ASYNC110 - nobody is told, which is what is tested
            await asyncio.sleep(0)
        # Nobody has told the worker that there is room, so little more than what fills the box was made.
        unread = []
        while (message := stream.outbox.take()) is not None:
            unread.append(message)
        assert 1 << 18 <= len(data_of(unread)) < 1 << 19
        assert not sending.done()
        heard = data_of([*unread, *await rest(stream)])
        await sending
        assert len(heard) // 4 == 3000 * 16 * FRAME


@with_loop
async def test_who_never_reads_is_sent_away(tmp_path: Path) -> None:
    """A stream that waits for its reader ends when that takes too long."""
    clock = Clock()
    async with hosting(tmp_path, clock=clock, unread_limit_ms=5000) as host:
        stream = await opened(host, encoding())
        await stream.send(Audio(speech(4 * FRAME * 5).tobytes()))
        while not stream.outbox.has_news:  # noqa: ASYNC110 - nobody reads, so nobody is told
            await asyncio.sleep(0)
        clock.now = 6.0
        await host.until_empty()
        with pytest.raises(SlowReader, match=r"^results left unread for 6\.0 s, expected to be read within 5 s$"):
            await rest(stream)


def test_floats_need_an_engine_whose_sums_repeat(tmp_path: Path) -> None:
    """What the engine runs with is known where options are checked."""
    catalogue = Catalogue([load_bundle(write_codec(tmp_path))], Runtime("cuda"))
    make_task = catalogue.resolve("codec").make_task
    assert make_task(task_options(encoding(entropy="network")))
    with pytest.raises(
        InvalidRequest, match=r"^codec entropy: expected the provider cpu with 1 thread for float, got cuda with 1$"
    ):
        make_task(task_options(encoding(entropy="float")))
