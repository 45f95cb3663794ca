"""Riva's service over a fake host, in the messages of NVIDIA's own package: what is mapped, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from riva.client.proto import riva_asr_pb2, riva_audio_pb2, riva_common_pb2
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub

from streamer.errors import Overloaded
from streamer.gateway.riva import messages
from streamer.gateway.riva.responses import Responses
from streamer.gateway.server import Addresses
from streamer.session.messages import (
    Alternative,
    Audio,
    Config,
    Decoding,
    End,
    Endpointing,
    Flow,
    Hotword,
    Result,
    Word,
)
from tests.gateway.fake_host import FakeHost
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.serving import failure_of, grpc_channel, serving, with_loop

pb = riva_asr_pb2
Encoding = riva_audio_pb2.AudioEncoding
METHOD = f"/{messages.SERVICE}/StreamingRecognize"


def recognition(**changes: Any) -> Any:
    return pb.RecognitionConfig(**{"encoding": Encoding.LINEAR_PCM, "sample_rate_hertz": 16000, **changes})


def opening(**changes: Any) -> Any:
    config = pb.StreamingRecognitionConfig(config=recognition(**changes), interim_results=True)
    return pb.StreamingRecognizeRequest(streaming_config=config)


def audio(data: bytes) -> Any:
    return pb.StreamingRecognizeRequest(audio_content=data)


@asynccontextmanager
async def calling(addresses: Addresses, *requests: Any, **metadata: str) -> AsyncIterator[Any]:
    """A call of `StreamingRecognize` that has sent `requests`, messages or bytes."""
    async with grpc_channel(addresses) as channel:
        method = channel.stream_stream(METHOD, response_deserializer=pb.StreamingRecognizeResponse.FromString)
        call = method(metadata=tuple(metadata.items()))
        for request in requests:
            await call.write(request if isinstance(request, bytes) else request.SerializeToString())
        yield call


async def responses_of(host: FakeHost, *requests: Any) -> list[Any]:
    async with serving(host) as addresses, calling(addresses, *requests) as call:
        await call.done_writing()
        responses = []
        while (response := await call.read()) is not grpc.aio.EOF:
            responses.append(response)
        assert await call.code() == grpc.StatusCode.OK
        return responses


def plain(file: Any) -> Any:
    """A file's descriptor without the names in JSON, which follow from the others and are left out by some."""
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    queue = list(proto.message_type)
    while queue:
        message = queue.pop()
        queue.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
    return proto


@pytest.mark.parametrize("module", [riva_common_pb2, riva_audio_pb2, riva_asr_pb2])
def test_our_descriptors_are_those_of_the_clients_package(module):
    """Every message, field, number and method, so that no version of the two can drift apart unseen."""
    ours = messages.POOL.FindFileByName(module.DESCRIPTOR.name)
    assert plain(ours) == plain(module.DESCRIPTOR)


@with_loop
async def test_audio_becomes_results_of_one_channel():
    """A final per segment; the id of the request comes back in every response."""
    host = FakeHost()
    first = opening(language_code="en-US")
    first.id.value = "call 7"
    responses = await responses_of(host, first, audio(bytes(20)), audio(b""), audio(b"1234"))
    assert [response.id.value for response in responses] == ["call 7", "call 7"]
    results = [result for response in responses for result in response.results]
    assert [(result.is_final, result.channel_tag) for result in results] == [(True, 1), (True, 1)]
    alternatives = [alternative for result in results for alternative in result.alternatives]
    assert [(best.transcript, best.confidence, list(best.language_code)) for best in alternatives] == [
        ("20 ", 1.0, ["en"]),
        ("4 ", 1.0, ["en"]),
    ]
    assert host.streams[0].got == [
        Config("pcm_s16le", 16000, 1, mode="file", language="en"), Audio(bytes(20)), Audio(b"1234"), End()
    ]  # fmt: skip


@with_loop
async def test_everything_that_is_asked_for_is_in_the_config():
    """Hotwords with their boosts, alternatives, model, end of utterance, interim results."""
    host = FakeHost()
    contexts = [pb.SpeechContext(phrases=["a", "b"], boost=4), pb.SpeechContext(phrases=["c"])]
    first = opening(
        model="echo@1",
        max_alternatives=3,
        speech_contexts=contexts,
        audio_channel_count=1,
        verbatim_transcripts=True,
        enable_separate_recognition_per_channel=True,
        endpointing_config=pb.EndpointingConfig(stop_history=700),
    )
    first.streaming_config.interim_results = False
    await responses_of(host, first)
    assert host.streams[0].got[0] == Config(
        "pcm_s16le",
        16000,
        1,
        model="echo@1",
        mode="file",
        interim_results=False,
        endpointing=Endpointing(silence_after_speech_s=0.7),
        decoding=Decoding(beam=4, n_best=3, hotwords=(Hotword("a", 4.0), Hotword("b", 4.0), Hotword("c"))),
    )


@pytest.mark.parametrize(
    ("encoding", "rate", "expected"),
    [
        ("LINEAR_PCM", 8000, ("pcm_s16le", 8000)),
        ("MULAW", 8000, ("pcm_mulaw", 8000)),
        ("ALAW", 8000, ("pcm_alaw", 8000)),
        ("FLAC", 44100, ("flac", 44100)),
        ("OGGOPUS", 0, ("ogg_opus", 48000)),
    ],
)
@with_loop
async def test_encodings(encoding, rate, expected):
    """Each of Riva's has its name here; the config is sent before any audio, so that errors come at once."""
    host = FakeHost()
    await responses_of(host, opening(encoding=Encoding.Value(encoding), sample_rate_hertz=rate))
    config = host.streams[0].got[0]
    assert (config.encoding, config.sample_rate) == expected


@with_loop
async def test_samples_may_be_cut_between_requests():
    """A byte at the end waits for its other half; long contents are cut to what a session takes."""
    host, data = FakeHost(), bytes(range(250)) * 800
    await responses_of(host, opening(), audio(data[:99_999]), audio(data[99_999:]))
    frames = [message.data for message in host.streams[0].got if isinstance(message, Audio)]
    assert b"".join(frames) == data
    assert all(len(frame) % 2 == 0 and len(frame) <= 64_000 for frame in frames)


@with_loop
async def test_recognize_answers_with_all_segments():
    """The same mapping for a file in one request; nothing is said of segments that are still open."""
    host = FakeHost()
    async with serving(host) as addresses, grpc_channel(addresses) as channel:
        request = pb.RecognizeRequest(
            config=recognition(), audio=bytes(80_000), id=riva_common_pb2.RequestId(value="x")
        )
        response = await RivaSpeechRecognitionStub(channel).Recognize(request)
    assert [result.alternatives[0].transcript for result in response.results] == ["64000 ", "16000 "]
    assert [round(result.audio_processed, 3) for result in response.results] == [2.0, 2.5]
    assert response.id.value == "x"
    assert host.streams[0].got[0] == Config("pcm_s16le", 16000, 1, mode="file", interim_results=False)
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_models_are_described():
    """By name or all; one that is not there is not found."""
    async with serving(FakeHost()) as addresses, grpc_channel(addresses) as channel:
        stub = RivaSpeechRecognitionStub(channel)
        for name in ("", "echo", "echo@1"):
            request = pb.RivaSpeechRecognitionConfigRequest(model_name=name)
            (config,) = (await stub.GetRivaSpeechRecognitionConfig(request)).model_config
            assert config.model_name == "echo"
            assert config.parameters["language_code"] == "en"
            assert config.parameters["type"] == "online"
            assert config.parameters["sample_rate"] == "16000"
        with pytest.raises(grpc.aio.AioRpcError, match="unknown model 'other', expected one of echo") as caught:
            await stub.GetRivaSpeechRecognitionConfig(pb.RivaSpeechRecognitionConfigRequest(model_name="other"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_results_say_how_far_and_how_sure():
    """Stability is the share of the text that stays; words come in finals, in milliseconds, if they were asked for."""
    words = (Word("a", 800, 1600, 0.5), Word("b", 1600, 3200, 0.25))
    interim = Result(0, 1, "a b c", 3, False, False, 800, 4000, 0.5, words)
    final = Result(0, 2, "a b", 3, True, True, 800, 3200, 0.5, words, (Alternative("a b", 0.5), Alternative("a", 0.25)))
    responses = Responses(8000, "", word_times=True)
    first = responses.streaming(interim)
    assert (first.is_final, first.alternatives[0].transcript, list(first.alternatives[0].words)) == (False, "a b c", [])
    assert first.stability == pytest.approx(0.6)
    assert first.audio_processed == 0.5
    assert responses.streaming(Flow(9000, 8000, 0.0, 0.0)) is None
    second = responses.streaming(final)
    assert second.audio_processed == 1.0
    assert [(each.transcript, each.confidence) for each in second.alternatives] == [("a b ", 0.5), ("a ", 0.25)]
    assert [(word.word, word.start_time, word.end_time, word.confidence) for word in second.alternatives[0].words] == [
        ("a", 100, 200, 0.5),
        ("b", 200, 400, 0.25),
    ]
    assert not Responses(8000, "", word_times=False).streaming(final).alternatives[0].words
    assert responses.batch(interim) is None
    assert responses.streaming(Result(0, 1, "a", 0, False, False, 0, 0, 0.5)).stability > 0


def with_field(number: int) -> bytes:
    """A request whose recognition config has a field that no version here knows."""
    config = recognition().SerializeToString() + bytes([(number << 3) & 0x7F | 0x80, number >> 4, 1])
    streaming = b"\x0a" + bytes([len(config)]) + config
    return b"\x0a" + bytes([len(streaming)]) + streaming


NO_MODEL = "expected false, no model here does that"
ONLY_STOP = "expected nothing, only stop_history can be set"
BAD: dict[str, tuple[list[Any], str]] = {
    "audio_first": ([audio(b"12")], "expected streaming_config first"),
    "nothing_first": ([pb.StreamingRecognizeRequest()], "expected streaming_config first"),
    "second_config": ([opening(), opening()], "expected audio_content after streaming_config"),
    "empty_request": ([opening(), pb.StreamingRecognizeRequest()], "expected audio_content after streaming_config"),
    "no_message": ([b"\xff\xff"], "expected StreamingRecognizeRequest, got 2 bytes that are none"),
    "runtime_config": (
        [pb.StreamingRecognizeRequest(runtime_config={"k": "v"})],
        "runtime_config: expected no keys, got 'k'",
    ),
    "new_field": (
        [with_field(26)],
        "StreamingRecognizeRequest.streaming_config.config: expected no field 26, which this server does not know",
    ),
    "encoding": ([opening(encoding=7)], "encoding: expected one of LINEAR_PCM, MULAW, ALAW, FLAC, OGGOPUS, got 7"),
    "stereo": ([opening(audio_channel_count=2)], "audio_channel_count: expected 1, got 2"),
    "alternatives": ([opening(max_alternatives=-1)], "max_alternatives: expected a number of texts, got -1"),
    "profanity": ([opening(profanity_filter=True)], f"profanity_filter: {NO_MODEL}"),
    "punctuation": ([opening(enable_automatic_punctuation=True)], f"enable_automatic_punctuation: {NO_MODEL}"),
    "diarization": (
        [opening(diarization_config=pb.SpeakerDiarizationConfig(enable_speaker_diarization=True))],
        f"diarization_config.enable_speaker_diarization: {NO_MODEL}",
    ),
    "custom": ([opening(custom_configuration={"k": "v"})], "custom_configuration: expected no keys, got 'k'"),
    "start_history": (
        [opening(endpointing_config=pb.EndpointingConfig(start_history=1))],
        f"endpointing_config.start_history: {ONLY_STOP}",
    ),
    "stop_threshold_eou": (
        [opening(endpointing_config=pb.EndpointingConfig(stop_threshold_eou=0))],
        f"endpointing_config.stop_threshold_eou: {ONLY_STOP}",
    ),
    "stop_history": (
        [opening(endpointing_config=pb.EndpointingConfig(stop_history=0))],
        "endpointing_config.stop_history: expected milliseconds, got 0",
    ),
    "no_format": (
        [opening(encoding=0), audio(bytes(20))],
        f"expected encoding, or audio with the header of wav, flac or ogg, got {bytes(4)!r}",
    ),
}


@pytest.mark.parametrize("name", BAD)
@with_loop
async def test_what_cannot_be_served_is_refused(name):
    """By name, at once, with the status of a bad argument; no stream stays open."""
    host, (requests, text) = FakeHost(), BAD[name]
    async with serving(host) as addresses, calling(addresses, *requests) as call:
        code, details, trailers = await failure_of(call)
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    assert trailers["streamer-error"] == "invalid_request"
    assert all(stream.aborted.is_set() for stream in host.streams)


@with_loop
async def test_recognize_refuses_the_same():
    """Also audio that is not whole."""
    cases = {
        "profanity_filter: " + NO_MODEL: pb.RecognizeRequest(config=recognition(profanity_filter=True)),
        "audio frame of 3 bytes is not a multiple of 2 bytes per sample": pb.RecognizeRequest(
            config=recognition(), audio=b"123"
        ),
        "audio ends in the middle of a sample": pb.RecognizeRequest(config=recognition(), audio=bytes(13)),
    }
    host = FakeHost()
    async with serving(host) as addresses, grpc_channel(addresses) as channel:
        for text, request in cases.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await RivaSpeechRecognitionStub(channel).Recognize(request)
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    assert all(stream.aborted.is_set() for stream in host.streams)


@with_loop
async def test_errors_of_the_host_are_told():
    """With the same status and trailers as for our own streams."""
    host = FakeHost()
    host.error = Overloaded("no slot is free", 2)
    async with serving(host) as addresses:
        async with calling(addresses, opening()) as call:
            code, details, trailers = await failure_of(call)
        assert (code, details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot is free")
        assert (trailers["streamer-error"], trailers["retry-after-ms"]) == ("overloaded", "2000")
        host.error = ValueError("secret")
        async with calling(addresses, opening()) as call:
            assert (await failure_of(call))[:2] == (grpc.StatusCode.INTERNAL, "internal error")


@with_loop
async def test_without_a_key_no_method_answers():
    """With one they do: Riva's clients send it as everybody does, `authorization: Bearer KEY`."""
    host = FakeHost()
    unary: list[Callable[[Any], Any]] = [
        lambda stub: stub.Recognize(pb.RecognizeRequest(config=recognition(), audio=b"12")),
        lambda stub: stub.GetRivaSpeechRecognitionConfig(pb.RivaSpeechRecognitionConfigRequest()),
    ]
    async with serving(host, access=access_settings()) as addresses:
        async with calling(addresses, opening()) as call:
            assert (await failure_of(call))[0] == grpc.StatusCode.UNAUTHENTICATED
        async with grpc_channel(addresses) as channel:
            for method in unary:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await method(RivaSpeechRecognitionStub(channel))
                assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert host.streams == []
        async with calling(addresses, opening(), audio(bytes(20)), authorization=f"Bearer {ADA}") as call:
            assert (await call.read()).results[0].alternatives[0].transcript == "20 "


@with_loop
async def test_a_client_that_goes_frees_its_stream():
    """Cancelled in the middle of its audio."""
    host = FakeHost()
    async with serving(host) as addresses, calling(addresses, opening(), audio(bytes(20))) as call:
        await call.read()
        call.cancel()
        await host.streams[0].aborted.wait()
