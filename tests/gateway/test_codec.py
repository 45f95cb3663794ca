"""Codec streams over a fake host: three methods of one kind each, and binary frames over WebSocket."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from streamer.session.messages import Audio, AudioOut, CodecOptions, Config, End, Packets
from streamer.v1 import speech_pb2 as pb
from streamer.v1 import speech_pb2_grpc
from streamer.wire import json, protobuf
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import failure_of, grpc_channel, serving, websocket, with_loop

SOUND = Config("pcm_s16le", 16000, 1, task="codec")
CODED = replace(SOUND, encoding="snc1")


def called(channel, method):
    return channel.stream_stream(f"/streamer.v1.Codec/{method}", response_deserializer=pb.ServerMessage.FromString)()


async def sent(call, *messages):
    for message in messages:
        await call.write(protobuf.encode_client(message).SerializeToString())


@pytest.mark.parametrize(
    ("method", "config", "heard"),
    [
        ("Encode", SOUND, CodecOptions(output="snc1")),
        ("Encode", replace(SOUND, codec=CodecOptions(bitrate=1500)), CodecOptions(output="snc1", bitrate=1500)),
        ("Decode", CODED, CodecOptions()),
        ("Decode", replace(CODED, codec=CodecOptions(output="pcm_mulaw")), CodecOptions(output="pcm_mulaw")),
        ("Transcode", CODED, CodecOptions(output="snc1")),
    ],
)
@with_loop
async def test_each_method_takes_streams_of_its_kind(method, config, heard):
    """A config without a task means the codec; packets are what Encode and Transcode make."""
    host = FakeHost()
    nameless = protobuf.encode_client(config)
    nameless.config.task = ""
    async with serving(host) as addresses, grpc_channel(addresses) as channel:
        for first in (protobuf.encode_client(config), nameless):
            call = called(channel, method)
            await call.write(first.SerializeToString())
            await sent(call, Audio(b"1234"), End())
            answer = "audio_out" if method == "Decode" else "packets"
            assert [message.WhichOneof("message") async for message in call] == ["ready", answer, "done"]
            assert host.streams[-1].got == [replace(config, codec=heard), Audio(b"1234"), End()]


@pytest.mark.parametrize(
    ("method", "config", "message"),
    [
        ("Encode", replace(SOUND, task="transcribe"), "Encode: expected task codec, got 'transcribe'"),
        ("Encode", CODED, "Encode: expected an encoding of audio, got 'snc1'"),
        (
            "Encode",
            replace(SOUND, codec=CodecOptions(output="pcm_s16le")),
            "Encode: expected codec.output snc1, got 'pcm_s16le'",
        ),
        ("Decode", SOUND, "Decode: expected encoding snc1, got 'pcm_s16le'"),
        (
            "Decode",
            replace(CODED, codec=CodecOptions(output="snc1")),
            "Decode: expected codec.output an encoding of audio, got 'snc1'",
        ),
        ("Transcode", SOUND, "Transcode: expected encoding snc1, got 'pcm_s16le'"),
        (
            "Transcode",
            replace(CODED, codec=CodecOptions(output="pcm_f32le")),
            "Transcode: expected codec.output snc1, got 'pcm_f32le'",
        ),
    ],
)
@with_loop
async def test_and_refuses_the_others(method, config, message):
    """By the name of the method, with what was expected and what was there; the host hears nothing of it."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_channel(addresses) as channel:
        call = called(channel, method)
        await sent(call, config)
        failure = await failure_of(call)
    assert failure == (grpc.StatusCode.INVALID_ARGUMENT, message, {"streamer-error": "invalid_request"})
    assert host.streams[0].got == []


@with_loop
async def test_the_generated_stub_works():
    """A client made from the proto alone gets packets and sound as fields."""
    host = FakeHost()
    host.first_message = Packets(b"SNC1", 0, 0)
    config = pb.Config(encoding=pb.ENCODING_PCM_S16LE, sample_rate=16000, channels=1)
    async with serving(host) as addresses, grpc_channel(addresses) as channel:
        call = speech_pb2_grpc.CodecStub(channel).Encode()
        await call.write(pb.ClientMessage(config=config))
        assert (await call.read()).packets == pb.Packets(data=b"SNC1")
        host.streams[0].say(AudioOut(b"\1\2", 320))
        assert (await call.read()).audio_out == pb.AudioOut(data=b"\1\2", first_sample=320)


@with_loop
async def test_binary_frames_over_websocket():
    """Packets and sound come as they are, between the texts of other messages."""
    host = FakeHost()
    async with serving(host) as addresses, websocket(addresses, json.encode_client(SOUND)) as connection:
        assert '"type":"ready"' in await connection.recv()
        for message in (Packets(b"SNC1 and so on", 0, 0), Packets(b"\0\1", 0, 320), AudioOut(b"\2\3", 7)):
            host.streams[0].say(message)
        await connection.send(json.encode_client(End()))
        assert [await connection.recv() for _ in range(3)] == [b"SNC1 and so on", b"\0\1", b"\2\3"]
        assert '"type":"done"' in await connection.recv()
    assert host.streams[0].got == [SOUND, End()]
