"""The methods of `nvidia.riva.asr.RivaSpeechRecognition`, beside our own service on the same port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from streamer.audio.encodings import COMPRESSED
from streamer.errors import InvalidRequest, UnknownBundle
from streamer.gateway.calls import EOF, Context, connect, connect_streaming, statuses
from streamer.gateway.frames import byte_frames, pcm_frames
from streamer.gateway.head import Format
from streamer.gateway.relay import relay
from streamer.gateway.riva import messages as riva
from streamer.gateway.riva.requests import Request, parse, read_request
from streamer.gateway.riva.responses import Responses
from streamer.gateway.services import Services
from streamer.session.messages import Audio, ClientMessage, Config, ServerMessage


def handlers(services: Services) -> grpc.GenericRpcHandler[Any, Any]:
    """Return the handlers of the service."""

    async def streaming(_: Any, context: Context) -> None:
        # As for our own streams: sent on its own, or a status might not be able to follow.
        await context.send_initial_metadata(())
        async with statuses(context):
            await _StreamingCall(services, context).serve()

    async def batch(data: bytes, context: Context) -> Any:
        async with statuses(context):
            return await _recognize(services, data, context)

    async def models(data: bytes, context: Context) -> Any:
        async with statuses(context):
            services.access.of_call(context)
            return _models(services, parse(riva.ModelsRequest, data).model_name)

    methods = {
        # Requests stay bytes here, so that one that does not parse is our error and not an unknown one.
        "StreamingRecognize": grpc.stream_stream_rpc_method_handler(streaming, response_serializer=_serialized),
        "Recognize": grpc.unary_unary_rpc_method_handler(batch, response_serializer=_serialized),
        "GetRivaSpeechRecognitionConfig": grpc.unary_unary_rpc_method_handler(models, response_serializer=_serialized),
    }
    return grpc.method_handlers_generic_handler(riva.SERVICE, methods)


class _StreamingCall:
    """One call of `StreamingRecognize`."""

    def __init__(self, services: Services, context: Context) -> None:
        self._services = services
        self._context = context
        # Set by the first request and by the first audio.
        self._id: Any = None
        self._responses: Responses | None = None

    async def serve(self) -> None:
        stream = await connect_streaming(self._services, self._context)
        await relay(stream, self._incoming(), self._write, self._services.write_timeout_s)

    async def _incoming(self) -> AsyncIterator[ClientMessage]:
        services = self._services
        first = await self._read()
        if first is None or first.WhichOneof("streaming_request") != "streaming_config":
            raise InvalidRequest("expected streaming_config first")
        asked = first.streaming_config
        self._id = first.id if first.HasField("id") else None
        mode = services.settings.adapter_mode
        request = read_request(asked.config, asked.interim_results, mode, services.host.models())
        audio = _AudioOf(request, services)
        for message in audio.opening():
            yield self._begin(message, request)
        while (following := await self._read()) is not None:
            if following.WhichOneof("streaming_request") != "audio_content":
                raise InvalidRequest("expected audio_content after streaming_config")
            for message in audio.feed(following.audio_content):
                yield self._begin(message, request)
        for message in audio.finish():
            yield self._begin(message, request)

    async def _read(self) -> Any:
        data = await self._context.read()
        if data is EOF:
            return None
        request = parse(riva.StreamingRecognizeRequest, data)
        for key in request.runtime_config:
            raise InvalidRequest(f"runtime_config: expected no keys, got {key!r:.60}")
        return request

    def _begin(self, message: ClientMessage, request: Request) -> ClientMessage:
        if isinstance(message, Config):
            self._responses = Responses(message.sample_rate, message.language, request.word_times)
        return message

    async def _write(self, message: ServerMessage) -> None:
        # The stream says nothing before its config.
        assert self._responses is not None
        result = self._responses.streaming(message)
        if result is not None:
            await self._context.write(riva.StreamingRecognizeResponse(results=[result], id=self._id))


class _AudioOf:
    """The messages that the audio of a request becomes: first the config, as soon as the format is known."""

    def __init__(self, request: Request, services: Services) -> None:
        self._request = request
        self._limits = services.settings.session
        self._head = request.head()
        self._format: Format | None = None

    def opening(self) -> Iterable[ClientMessage]:
        """The config, if the request says all that it needs."""
        if self._head.format is not None:
            self._format = self._head.format
            yield self._request.stream_config(self._format)

    def feed(self, data: bytes) -> Iterable[ClientMessage]:
        """Messages of the next bytes; raises `InvalidRequest`."""
        yield from self._frames(self._head.feed(data))

    def finish(self) -> Iterable[ClientMessage]:
        """Messages of what was kept back; raises `InvalidRequest`."""
        yield from self._frames(self._head.finish())

    def _frames(self, data: bytes) -> Iterable[ClientMessage]:
        if self._format is None and self._head.format is not None:
            yield from self.opening()
        if data and self._format is not None:
            yield from self._cut(data, self._format)

    def _cut(self, data: bytes, format: Format) -> Iterable[Audio]:
        if format.encoding in COMPRESSED:
            return byte_frames(data, self._limits)
        return pcm_frames(data, format.encoding, format.sample_rate, self._limits)


async def _recognize(services: Services, data: bytes, context: Context) -> Any:
    """Serve one `Recognize`: a stream of a file that is there already."""
    stream = connect(services, context)
    responses: list[Responses] = []
    results = []

    async def incoming() -> AsyncIterator[ClientMessage]:
        asked = parse(riva.RecognizeRequest, data)
        if asked.HasField("id"):
            response.id.CopyFrom(asked.id)
        request = read_request(asked.config, False, "file", services.host.models())
        audio = _AudioOf(request, services)
        for part in (audio.opening, lambda: audio.feed(asked.audio), audio.finish):
            for message in part():
                if isinstance(message, Config):
                    responses.append(Responses(message.sample_rate, message.language, request.word_times))
                yield message

    async def write(message: ServerMessage) -> None:
        result = responses[0].batch(message)
        if result is not None:
            results.append(result)

    response = riva.RecognizeResponse()
    await relay(stream, incoming(), write, services.write_timeout_s)
    response.results.extend(results)
    return response


def _models(services: Services, name: str) -> Any:
    """Describe the models, or the one called `name`, in the words that NVIDIA's scripts look for."""
    served = [model for model in services.host.models() if model.task == "transcribe"]
    chosen = [model for model in served if name in ("", model.name, model.key)]
    if not chosen:
        raise UnknownBundle(f"unknown model {name!r:.60}, expected one of {', '.join(model.name for model in served)}")
    response = riva.ModelsResponse()
    for model in chosen:
        described = response.model_config.add(model_name=model.name)
        described.parameters.update(
            type="online",
            streaming="True",
            language_code=",".join(model.languages),
            sample_rate=str(model.sample_rate),
            version=model.version,
            chunk_ms=f"{model.chunk_ms:g}",
            delay_ms=f"{model.delay_ms:g}",
        )
    return response


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
