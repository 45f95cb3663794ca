"""Every encoding over every way to reach the server: the text of a stream is that of its file in batch."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
import soundfile

from streamer.audio.files import open_upload
from streamer.audio.pcm import encode
from streamer.errors import InvalidRequest, MessageTooLarge, TooFast
from streamer.session.messages import Audio, Config, Done, End, Endpointing, Finalized, Result
from tests.audio.compressed import flac, opus, opus_pages, silent_flac
from tests.e2e.serving import TRANSPORTS, serving
from tests.e2e.test_streams import audio, finals, rest_of, text_of
from tests.gateway.serving import with_loop

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
RULES = Endpointing(enabled=False)
SPEECH = audio(2.0).astype(np.float32) / 32768


def config(encoding: str, rate: int, mode: str = "file", channels: int = 1) -> Config:
    return Config(encoding, rate, channels, mode=mode, endpointing=RULES)


def telephone(subtype: str) -> bytes:
    """A WAV file of G.711."""
    data = io.BytesIO()
    soundfile.write(data, audio(2.0), 8000, format="WAV", subtype=subtype)
    return data.getvalue()


# At 48 kHz, this lasts for four pages.
LONG = np.tile(SPEECH, 6)
STEREO = np.stack([SPEECH, SPEECH[::-1]], axis=1)
# What is sent, and the file whose batch text it has to be.
CASES = {
    "pcm_mulaw": (config("pcm_mulaw", 8000), encode(SPEECH, "pcm_mulaw"), telephone("ULAW")),
    "pcm_alaw": (config("pcm_alaw", 8000), encode(SPEECH, "pcm_alaw"), telephone("ALAW")),
    "flac": (config("flac", 16000), flac(SPEECH, 16000), flac(SPEECH, 16000)),
    "flac_44100": (config("flac", 44100), flac(SPEECH, 44100, "PCM_24"), flac(SPEECH, 44100, "PCM_24")),
    "flac_stereo": (config("flac", 16000, channels=2), flac(STEREO, 16000), flac(STEREO, 16000)),
    "ogg_opus": (config("ogg_opus", 48000), opus(LONG), opus(LONG)),
    "ogg_opus_stereo": (config("ogg_opus", 48000, channels=2), opus(STEREO), opus(STEREO)),
}


async def spoken(connect, wanted: Config, data: bytes, sizes: list[int]) -> list:
    """Send `data` in pieces of `sizes` bytes, the last size over and over, and return what is said."""
    async with connect(wanted) as stream:
        sender = asyncio.create_task(send_pieces(stream, data, sizes))
        messages = await rest_of(stream)
        await sender
    return messages


async def send_pieces(stream, data: bytes, sizes: list[int]) -> None:
    place, sizes = 0, list(sizes)
    while place < len(data):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        await stream.send(data[place : place + size])
        place += size
    await stream.end()


async def batch_text(connect, file: bytes) -> tuple[str, int]:
    """The text of a file, decoded and fed as `streamer transcribe` does, and how many samples it has."""
    with open_upload(file) as opened:
        samples = np.concatenate(list(opened.blocks()))
        wanted = config("pcm_f32le", opened.sample_rate)
    messages = await spoken(connect, wanted, encode(samples, "pcm_f32le"), [6400])
    return text_of(messages), len(samples)


@every_transport
@pytest.mark.parametrize("case", CASES)
@with_loop
async def test_the_text_is_that_of_the_file(tmp_path, transport, case):
    """Whatever the encoding, the transport and the pieces."""
    wanted, data, file = CASES[case]
    async with serving(tmp_path, transport) as served:
        expected, n_samples = await batch_text(served.connect, file)
        messages = await spoken(served.connect, wanted, data, [1, 2, 3, 300, 977, 5000])
    assert text_of(messages) == expected != ""
    assert messages[-1] == Done(n_samples, 1)


@every_transport
@pytest.mark.parametrize("case", ["flac", "ogg_opus"])
@with_loop
async def test_results_come_before_the_upload_ends(tmp_path, transport, case):
    """With half a file sent, there is text."""
    wanted, data, _ = CASES[case]
    async with serving(tmp_path, transport) as served, served.connect(wanted) as stream:
        for start in range(0, len(data) * 2 // 3, 500):
            await stream.send(data[start : start + 500])
        while not isinstance(message := await stream.receive(), Result):
            pass
        assert message.text


@every_transport
@with_loop
async def test_finalize_inside_a_file(tmp_path, transport):
    """The words of all whole frames are final, and the file goes on."""
    wanted, data, _ = CASES["flac"]
    async with serving(tmp_path, transport) as served, served.connect(wanted) as stream:
        await stream.send(data[: len(data) // 2])
        await stream.finalize("half")
        before = []
        while not isinstance(message := await stream.receive(), Finalized):
            before.append(message)
        assert 0 < message.sample < len(SPEECH)
        assert finals(before)
        await stream.send(data[len(data) // 2 :])
        await stream.end()
        after = await rest_of(stream)
    assert after[-1].audio_samples == len(SPEECH)


BOMBS = {
    "flac": (config("flac", 8000), silent_flac(4400)),
    "ogg_opus": (config("ogg_opus", 48000), b"".join(opus_pages([250] * 80))),
}


@every_transport
@pytest.mark.parametrize("case", BOMBS)
@with_loop
async def test_hours_of_silence_are_refused_and_no_neighbour_notices(tmp_path, transport, case):
    """A message of 64 KiB that holds hours is refused at once; a stream beside it says what it says alone."""
    wanted, data = BOMBS[case]
    async with serving(tmp_path, transport) as served, served.connect(CASES["flac"][0]) as neighbour:
        sender = asyncio.create_task(send_pieces(neighbour, CASES["flac"][1], [2000]))
        async with served.connect(wanted) as stream:
            await stream.send(data[:65536])
            with pytest.raises(MessageTooLarge, match=r"^audio frame decodes to more than the limit of 10000 ms"):
                await rest_of(stream)
        await sender
        messages = await rest_of(neighbour)
        assert messages[-1] == Done(len(SPEECH), 1)
        expected, _ = await batch_text(served.connect, CASES["flac"][2])
    assert text_of(messages) == expected


@every_transport
@with_loop
async def test_live_compressed_audio_that_runs_ahead_is_refused(tmp_path, transport):
    """The pace is that of the decoded audio."""
    live = config("ogg_opus", 48000, mode="live")
    async with serving(tmp_path, transport) as served, served.connect(live) as stream:
        for page in opus_pages([50] * 4):
            await stream.send(page)
        with pytest.raises(TooFast, match="ahead of real time"):
            await rest_of(stream)


@every_transport
@pytest.mark.parametrize(
    ("wanted", "data", "message"),
    [
        (config("flac", 16000), flac(SPEECH, 8000), "expected 16000 Hz as declared, got 8000 Hz in the flac header"),
        (config("ogg_opus", 48000), flac(SPEECH, 8000), "expected an ogg page at byte 0, got something else"),
        (config("flac", 16000), opus(SPEECH), "expected a flac stream, got one that does not begin with fLaC"),
    ],
    ids=["rate", "flac_as_opus", "opus_as_flac"],
)
@with_loop
async def test_other_audio_than_declared_is_refused(tmp_path, transport, wanted, data, message):
    """Nothing is guessed."""
    async with serving(tmp_path, transport) as served, served.connect(wanted) as stream:
        await stream.send(data[:1000])
        with pytest.raises(InvalidRequest, match=f"^{message}$"):
            await rest_of(stream)


# WebSocket frames name no position.
@pytest.mark.parametrize("transport", ["grpc", "in_process"])
@with_loop
async def test_compressed_audio_is_not_numbered(tmp_path, transport):
    """A frame of a file has no place in samples."""
    async with serving(tmp_path, transport) as served, served.connect(config("flac", 16000)) as stream:
        await stream.send(b"fLaC", 0)
        with pytest.raises(InvalidRequest, match="^expected no first_sample with encoding flac, got 0$"):
            await rest_of(stream)


async def most_buffered_s(host, pages: list[bytes]) -> float:
    """Send a file as fast as the host takes it; return the most seconds of decoded audio that waited for the model."""
    stream = host.connect()
    await stream.send(config("ogg_opus", 48000))
    reader = asyncio.create_task(read_all(stream))
    most = 0
    for page in pages:
        await stream.send(Audio(page))
        # The worker may take the message in at any time from now on.
        await asyncio.sleep(0)
        most = max(most, stream.session.buffered_samples)
    await stream.send(End())
    while not reader.done():
        await asyncio.sleep(0)
        most = max(most, stream.session.buffered_samples)
    await reader
    return most / 48000


async def read_all(stream) -> None:
    while await stream.receive() is not None:
        pass


@with_loop
async def test_what_waits_for_the_model_is_bounded(tmp_path):
    """A minute of silence in a few small messages, all within the limit of one, does not pile up decoded."""
    async with serving(tmp_path, "in_process") as served:
        most_s = await most_buffered_s(served.host, opus_pages([75] * 8))
    # The room of a stream, and the two messages that may be on their way when it is full.
    assert 0 < most_s <= 14 + 2 * 10 + 1
