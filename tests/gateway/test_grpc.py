"""The gRPC server, against a fake host."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from streamer.gateway.grpc import MAX_MESSAGE_BYTES
from streamer.session.messages import Audio, Config, End, Finalize
from streamer.v1 import speech_pb2 as pb
from streamer.v1 import speech_pb2_grpc
from streamer.wire import protobuf
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import (
    CONFIG,
    CONFIG_BYTES,
    failure_of,
    gateway_of,
    grpc_call,
    grpc_channel,
    serving,
    with_loop,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def encoded(message):
    return protobuf.encode_client(message).SerializeToString()


@with_loop
async def test_a_stream_from_config_to_done():
    """Messages arrive in order on both sides, and the call ends with status OK."""
    host = FakeHost()
    sent = [CONFIG, Audio(b"1234", 0), Finalize("a"), End()]
    async with serving(host) as addresses, grpc_call(addresses, *map(encoded, sent)) as call:
        got = [message.WhichOneof("message") async for message in call]
        assert await call.code() is grpc.StatusCode.OK
    assert got == ["ready", "result", "finalized", "done"]
    assert host.streams[0].got == sent


@with_loop
async def test_the_generated_stub_works():
    """A client made from the proto alone needs nothing of ours."""
    requests = [
        pb.ClientMessage(config=pb.Config(encoding=pb.ENCODING_PCM_S16LE, sample_rate=16000, channels=1)),
        pb.ClientMessage(audio=pb.Audio(data=b"1234")),
        pb.ClientMessage(control=pb.Control(end=pb.End())),
    ]
    async with serving(FakeHost()) as addresses, grpc_channel(addresses) as channel:
        call = speech_pb2_grpc.SpeechStub(channel).StreamingRecognize(iter(requests))
        replies = [reply async for reply in call]
    assert replies[1].result.text == "4"
    assert replies[2].done.audio_samples == 2


@with_loop
async def test_half_close_counts_as_end():
    """A client that stops writing without End still gets its last results."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_call(addresses, CONFIG_BYTES, encoded(Audio(b"12"))) as call:
        await call.done_writing()
        got = [message.WhichOneof("message") async for message in call]
    assert got == ["ready", "result", "done"]
    assert host.streams[0].got == [CONFIG, Audio(b"12"), End()]


@with_loop
async def test_half_close_after_end_adds_nothing():
    """End is sent once."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_call(addresses, CONFIG_BYTES, encoded(End())) as call:
        await call.done_writing()
        assert [message.WhichOneof("message") async for message in call] == ["ready", "done"]
    assert host.streams[0].got == [CONFIG, End()]


@pytest.mark.parametrize(
    ("sent", "details"),
    [
        ([b"\xff\xff"], "message: expected a streamer.v1.ClientMessage, got other bytes"),
        ([b""], "message: expected one of config, audio, text, control, got nothing"),
        ([CONFIG_BYTES, b"\xff\xff"], "message: expected a streamer.v1.ClientMessage, got other bytes"),
        ([encoded(Audio(b"12"))], "expected config first, got audio"),
    ],
)
@with_loop
async def test_junk_is_an_invalid_argument(sent, details):
    """Bytes that do not parse, and audio before config, end the call and free the slot."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_call(addresses, *sent) as call:
        failure = await failure_of(call)
        await host.streams[0].aborted.wait()
    assert failure == (grpc.StatusCode.INVALID_ARGUMENT, details, {"streamer-error": "invalid_request"})


@with_loop
async def test_oversized_messages_are_cut_off():
    """Above 1 MiB gRPC refuses by itself; up to there the session decides."""
    host = FakeHost()
    async with serving(host) as addresses:
        async with grpc_call(addresses, CONFIG_BYTES, encoded(Audio(bytes(MAX_MESSAGE_BYTES - 64)))) as call:
            await call.read()
            assert (await call.read()).result.text == str(MAX_MESSAGE_BYTES - 64)
        async with grpc_call(addresses, CONFIG_BYTES, encoded(Audio(bytes(MAX_MESSAGE_BYTES)))) as call:
            code, details, _ = await failure_of(call)
            await host.streams[1].aborted.wait()
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in details


@pytest.mark.parametrize("blocked", [False, True])
@with_loop
async def test_a_cancelled_call_frees_its_slot(blocked):
    """The stream is aborted when its client goes, even while it waits for room."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_call(addresses, CONFIG_BYTES) as call:
        await call.read()
        if blocked:
            host.streams[0].room.clear()
            await call.write(encoded(Audio(b"12")))
        assert not host.streams[0].aborted.is_set()
        call.cancel()
        await host.streams[0].aborted.wait()


@with_loop
async def test_a_lost_connection_frees_its_slot():
    """So does a channel that closes under its call."""
    host = FakeHost()
    async with serving(host) as addresses:
        async with grpc_call(addresses, CONFIG_BYTES) as call:
            await call.read()
        await host.streams[0].aborted.wait()


@with_loop
async def test_a_slow_reader_is_let_go():
    """A client that takes nothing keeps its stream no longer than the limit."""
    host = FakeHost()
    session = {"unread_limit_ms": 50}
    async with serving(host, session=session) as addresses, grpc_call(addresses, CONFIG_BYTES) as call:
        await call.read()
        host.streams[0].say_much()
        await host.streams[0].aborted.wait()
        code, details, trailers = await failure_of(call)
    assert (code, trailers) == (grpc.StatusCode.RESOURCE_EXHAUSTED, {"streamer-error": "slow_reader"})
    assert details == "a result was not taken within 0.05 s"


@with_loop
async def test_models_are_listed():
    """Every field of a served bundle is told."""
    async with serving(FakeHost()) as addresses, grpc_channel(addresses) as channel:
        reply = await speech_pb2_grpc.ModelsStub(channel).ListModels(pb.ListModelsRequest())
    assert list(reply.models) == [
        pb.Model(
            name="echo",
            version="1",
            task="transcribe",
            description="says how many bytes it got",
            languages=["en"],
            sample_rate=16000,
            chunk_ms=160.0,
            delay_ms=200.0,
            is_default=True,
        )
    ]


@with_loop
async def test_health_follows_the_host():
    """All names serve exactly while the host is ready; other names are unknown."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_channel(addresses) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for ready, status in ((True, SERVING), (False, NOT_SERVING), (True, SERVING)):
            host.ready = ready
            for service in ("", "streamer.v1.Speech", "streamer.v1.Codec"):
                reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))
                assert reply.status == status
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Check(health_pb2.HealthCheckRequest(service="other"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


@with_loop
async def test_health_watchers_learn_of_a_change():
    """A watcher hears when the host stops being ready."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_channel(addresses) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        host.ready = False
        assert (await watch.read()).status == NOT_SERVING


@with_loop
async def test_reflection_lists_the_services():
    """Tools find every service without the proto file."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with serving(FakeHost()) as addresses, grpc_channel(addresses) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        reply = await call.read()
    names = [service.name for service in reply.list_services_response.service]
    assert sorted(names) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "streamer.v1.Codec",
        "streamer.v1.Models",
        "streamer.v1.Speech",
        "streamer.v1.Synthesis",
    ]


@with_loop
async def test_a_taken_port_is_a_clear_error():
    """Binding fails at once instead of sharing the port, and nothing is left running."""
    async with serving(FakeHost()) as addresses:
        with pytest.raises(OSError, match=f"^cannot bind grpc to 127.0.0.1:{addresses.grpc_port}"):
            await gateway_of(FakeHost(), grpc_port=addresses.grpc_port).start()


@with_loop
async def test_every_config_field_arrives():
    """No option is lost between proto and session."""
    config = Config("pcm_f32le", 8000, 2, model="echo@1", mode="file", language="en", interim_results=False)
    host = FakeHost()
    async with serving(host) as addresses, grpc_call(addresses, encoded(config)) as call:
        await call.read()
    assert host.streams[0].got[0] == config
