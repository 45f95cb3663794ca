"""Whole files and streams through a codec, against a gateway over a fake host, over both transports."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from streamer.audio.files import open_upload
from streamer.audio.pcm import encode as pcm
from streamer.audio.snc1_reader import PacketReader
from streamer.client import Client, CodecOptions, Config, Sound, connect, decode, encode, transcode
from streamer.client.binary import BinaryFrames
from streamer.client.stream import open_transport
from streamer.errors import InvalidRequest
from streamer.session.messages import Audio, AudioOut, Done, End, Packets
from tests.client.test_sync import aborted, every_transport, heard, served
from tests.client.test_wav import wav
from tests.gateway.fake_host import CODED, FakeHost
from tests.gateway.serving import serving, with_loop

SOUND = bytes(range(256)) * 25
PACKETS = b"SNC1\1\0\x30\0\x80\x3e\0\0" + bytes(4000)


def coded(data):
    """The payloads of an SNC1 stream."""
    reader = PacketReader()
    packets = [*reader.feed(data), *reader.finish()]
    assert reader.header == CODED
    return [packet.payload for packet in packets]


@every_transport
def test_a_file_becomes_packets(transport, tmp_path):
    """A WAV file is sent in short blocks as what it holds; the bytes of all answers are one SNC1 stream."""
    host, path = FakeHost(), tmp_path / "talk.wav"
    path.write_bytes(wav(data=SOUND))
    with served(host, transport) as client:
        found = client.encode(path, CodecOptions(bitrate=3000, fec=True), model="mini@1")
    config = Config("pcm_s16le", 16000, 1, task="codec", model="mini@1", mode="file", interim_results=False)
    assert host.streams[0].got[0] == replace(config, codec=CodecOptions(output="snc1", bitrate=3000, fec=True))
    assert heard(host) == (SOUND, End())
    assert coded(found) == [bytes((3200 % 256,))] * 2


@every_transport
def test_packets_become_a_sound(transport):
    """Small blocks, for packets may stand for much audio; the sound knows its format."""
    host = FakeHost()
    with served(host, transport) as client:
        found = client.decode(PACKETS)
        other = client.decode(io.BytesIO(PACKETS), CodecOptions(output="pcm_mulaw", output_rate=8000))
    assert found == Sound(PACKETS, "pcm_s16le", 16000)
    assert found.duration_s == len(PACKETS) / 32000
    assert (other.encoding, other.sample_rate) == ("pcm_mulaw", 8000)
    assert host.streams[0].got[0].codec == CodecOptions(output="pcm_s16le")
    assert heard(host) == (PACKETS, End())
    assert max(len(message.data) for message in host.streams[0].got if isinstance(message, Audio)) == 1024
    assert host.streams[0].got[0].sample_rate == 16000


@every_transport
def test_packets_become_packets(transport):
    """Which needs no option to say so."""
    host = FakeHost()
    with served(host, transport) as client:
        found = client.transcode(PACKETS, CodecOptions(bitrate=1500))
    assert host.streams[0].got[0].codec == CodecOptions(output="snc1", bitrate=1500)
    assert len(coded(found)) == 4


@with_loop
async def test_the_same_with_an_event_loop():
    """The functions do what the methods do."""
    async with serving(FakeHost()) as addresses:
        for url in (addresses.grpc, addresses.websocket):
            assert len(coded(await encode(url, wav(data=SOUND)))) == 2
            assert (await decode(url, PACKETS)).data == PACKETS
            assert len(coded(await transcode(url, PACKETS))) == 4


def test_compressed_files_are_sent_as_they_are():
    """The server decodes them, over either transport."""
    flac = io.BytesIO()
    soundfile.write(flac, np.zeros(20_000, np.int16), 16000, format="FLAC")
    host = FakeHost()
    with served(host) as client:
        client.encode(flac.getvalue())
    assert (host.streams[0].got[0].encoding, heard(host)) == ("flac", (flac.getvalue(), End()))


@pytest.mark.parametrize(
    ("method", "data", "message"),
    [
        ("encode", b"ID3 and other music, of some length", "audio: expected wav, flac or Ogg Opus"),
        ("encode", b"", "audio: expected a file, got nothing"),
        ("decode", wav(), "packets: expected an SNC1 stream, got something else"),
        ("transcode", b"SNC1", "packets: expected an SNC1 stream, got something else"),
    ],
)
def test_other_files_are_refused_before_they_are_sent(method, data, message):
    """With what was expected; the server hears nothing."""
    host = FakeHost()
    with served(host) as client, pytest.raises(InvalidRequest) as refusal:
        getattr(client, method)(data)
    assert str(refusal.value) == message
    assert host.streams == []


@every_transport
def test_a_live_stream_yields_packets_as_they_come(transport):
    """Chunks of any size in, bytes of the stream out; it is not resumable."""
    host = FakeHost()
    config = Config("pcm_s16le", 16000, 1, task="codec")
    with served(host, transport) as client:
        parts = list(client.codec_stream([SOUND[:100], SOUND[100:]], config))
        sound = b"".join(client.codec_stream([PACKETS], replace(config, encoding="snc1")))
    assert len(coded(b"".join(parts))) == len(parts) == 3
    assert sound == PACKETS
    assert not host.streams[0].got[0].resumable


def test_leaving_the_loop_hangs_up():
    """The stream of who has heard enough is free again."""
    host = FakeHost()
    with served(host) as client:
        for _ in client.codec_stream(iter(lambda: SOUND, b""), Config("pcm_s16le", 16000, 1, task="codec")):
            break
        assert aborted(host)


@with_loop
async def test_messages_are_the_same_over_both_transports():
    """Frames of WebSocket are bare: the client counts the samples of packets and of sound."""
    seen = []
    async with serving(FakeHost()) as addresses:
        for url in (addresses.grpc, addresses.websocket):
            for config in (Config("pcm_s16le", 16000, 1, task="codec"), Config("snc1", 16000, 1, task="codec")):
                async with connect(url, config) as stream:
                    for data in (b"1234", b"567890"):
                        await stream.send(data)
                    await stream.end()
                    seen.append([message async for message in stream])
    packets, sound = seen[:2]
    assert seen[2:] == [packets, sound]
    assert [(message.first_sample, message.samples) for message in packets[:2]] == [(0, 320), (320, 320)]
    assert sound == [AudioOut(b"1234", 0), AudioOut(b"567890", 2), Done(5, 0)]


def test_positions_are_at_the_rate_of_the_config():
    """Of sound that is sent at another rate than the model's."""
    frames = BinaryFrames(Config("pcm_s16le", 48000, 1, task="codec"))
    host = FakeHost()
    with served(host) as client:
        parts = list(client.codec_stream([b"12"] * 3, Config("pcm_s16le", 48000, 1, task="codec")))
    found = [frames.message(part) for part in parts]
    assert [(message.first_sample, message.samples) for message in found] == [(0, 960), (960, 960), (1920, 960)]
    assert all(isinstance(message, Packets) for message in found)


@with_loop
async def test_binary_frames_before_the_config_are_noticed():
    """A server that speaks before it was asked is no server of ours."""
    host = FakeHost()
    async with serving(host) as addresses:
        transport = await open_transport(addresses.websocket)
        await host.connected.wait()
        host.streams[0].say(AudioOut(b"12", 0))
        with pytest.raises(ConnectionError, match="^expected ready first, got a binary frame$"):
            await transport.read()
        await transport.close()


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw"])
def test_wav_of_a_sound(encoding):
    """Readable by libsndfile and by the client itself, whatever the encoding."""
    samples = np.round(np.sin(np.arange(801) / 9) * 3000).astype(np.float32) / 32768
    sound = Sound(pcm(samples, encoding), encoding, 8000)
    with open_upload(sound.wav()) as file:
        assert file.sample_rate == 8000
        read = np.concatenate(list(file.blocks()))
    assert pcm(read, encoding) == sound.data
    host = FakeHost()
    with served(host) as client:
        client.encode(sound.wav())
    assert (host.streams[0].got[0].encoding, heard(host)[0]) == (encoding, sound.data)


def test_a_closed_client_says_so():
    """Like every other call."""
    client = Client("ws://127.0.0.1:1")
    client.close()
    with pytest.raises(RuntimeError, match="^the client is closed$"):
        client.decode(PACKETS)
