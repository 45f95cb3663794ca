"""The gRPC server: the services of `streamer.v1`, Riva's recognition, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from streamer.gateway import codec, synthesis
from streamer.gateway.calls import EOF, Context, connect_streaming, statuses
from streamer.gateway.readiness import Readiness
from streamer.gateway.relay import relay
from streamer.gateway.riva import service as riva
from streamer.gateway.services import Services
from streamer.gateway.tls import Certificates
from streamer.session.messages import ClientMessage, ServerMessage
from streamer.v1 import speech_pb2 as pb
from streamer.wire import protobuf

# What gRPC takes by default. Frames of our own streams are far smaller; Riva's `Recognize` holds all of its audio.
MAX_MESSAGE_BYTES = 4 << 20
_SPEECH = "streamer.v1.Speech"
_MODELS = "streamer.v1.Models"
_WATCH_INTERVAL_S = 0.25
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Find peers that vanished without closing, so that their streams end.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


class GrpcServer:
    """Serves gRPC at one address, over TLS with `certificates`; port 0 takes a free one.

    A second server on the port fails, unless `is_port_shared` for both.
    """

    def __init__(
        self, services: Services, certificates: Certificates | None = None, is_port_shared: bool = False
    ) -> None:
        self._certificates = certificates
        self._server = grpc.aio.server(options=[*_OPTIONS, ("grpc.so_reuseport", int(is_port_shared))])
        self._health = _Health(services.readiness)
        self._follower: asyncio.Task[None] | None = None
        self._server.add_generic_rpc_handlers(
            (
                _speech_handlers(services),
                _codec_handlers(services),
                _synthesis_handlers(services),
                _model_handlers(services),
                riva.handlers(services),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (_SPEECH, codec.SERVICE, synthesis.SERVICE, _MODELS, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, address: str, port: int) -> int:
        """Bind and serve; returns the port. Raises `OSError` if it cannot be bound."""
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            if self._certificates is None:
                bound = self._server.add_insecure_port(target)
            else:
                bound = self._server.add_secure_port(target, self._certificates.grpc_credentials())
        except RuntimeError:
            raise OSError(f"cannot bind grpc to {target}, is the port in use") from None
        await self._health.refresh()
        await self._server.start()
        self._follower = asyncio.create_task(self._health.follow())
        return bound

    async def refresh_health(self) -> None:
        """Tell watchers of the health service what readiness says now."""
        await self._health.refresh()

    async def stop(self, grace_s: float) -> None:
        """Close the port; calls still running after `grace_s` are cancelled."""
        if self._follower is not None:
            self._follower.cancel()
        await self._server.stop(grace_s)


def _speech_handlers(services: Services) -> grpc.GenericRpcHandler[Any, Any]:
    async def recognize(_: Any, context: Context) -> None:
        await _stream(services, context, _incoming(context))

    return grpc.method_handlers_generic_handler(_SPEECH, {"StreamingRecognize": _stream_handler(recognize)})


def _codec_handlers(services: Services) -> grpc.GenericRpcHandler[Any, Any]:
    def handler(method: codec.Method) -> grpc.RpcMethodHandler[Any, Any]:
        async def serve(_: Any, context: Context) -> None:
            await _stream(services, context, method.only(_incoming(context, codec.TASK)))

        return _stream_handler(serve)

    methods = {method.name: handler(method) for method in codec.METHODS}
    return grpc.method_handlers_generic_handler(codec.SERVICE, methods)


def _synthesis_handlers(services: Services) -> grpc.GenericRpcHandler[Any, Any]:
    async def synthesize(_: Any, context: Context) -> None:
        await _stream(services, context, synthesis.only(_incoming(context, synthesis.TASK)))

    return grpc.method_handlers_generic_handler(synthesis.SERVICE, {synthesis.METHOD: _stream_handler(synthesize)})


def _stream_handler(serve: Callable[[Any, Context], Awaitable[None]]) -> grpc.RpcMethodHandler[Any, Any]:
    # Requests stay bytes here, so that one that does not parse is our error and not an unknown one.
    return grpc.stream_stream_rpc_method_handler(serve, response_serializer=pb.ServerMessage.SerializeToString)


def _model_handlers(services: Services) -> grpc.GenericRpcHandler[Any, Any]:
    async def list_models(_: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        async with statuses(context):
            services.access.of_call(context)
        return pb.ListModelsResponse(models=[_model(info) for info in services.host.models()])

    handler = grpc.unary_unary_rpc_method_handler(
        list_models,
        request_deserializer=pb.ListModelsRequest.FromString,
        response_serializer=pb.ListModelsResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(_MODELS, {"ListModels": handler})


def _model(info: Any) -> pb.Model:
    return pb.Model(**{name: getattr(info, name) for name in pb.Model.DESCRIPTOR.fields_by_name})


async def _stream(services: Services, context: Context, incoming: AsyncIterator[ClientMessage]) -> None:
    async def write(message: ServerMessage) -> None:
        await context.write(protobuf.encode_server(message))

    # Sent on its own: a first write that is cancelled would leave it half sent, and then no status can follow.
    await context.send_initial_metadata(())
    async with statuses(context):
        stream = await connect_streaming(services, context)
        await relay(stream, incoming, write, services.write_timeout_s)


async def _incoming(context: Context, task: str = "") -> AsyncIterator[ClientMessage]:
    while (data := await context.read()) is not EOF:
        yield protobuf.parse_client(data, task)


class _Health(health.aio.HealthServicer):  # type: ignore[misc, name-defined]  # the stubs lack it
    """The standard health service, following readiness: exact for `Check`, soon for `Watch`."""

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()
        self._readiness = readiness

    async def refresh(self) -> None:
        status = health_pb2.HealthCheckResponse
        now = status.SERVING if self._readiness.ready else status.NOT_SERVING
        for service in ("", _SPEECH, codec.SERVICE, synthesis.SERVICE):
            await self.set(service, now)

    async def follow(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            await self.refresh()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the RPC
        await self.refresh()
        return await super().Check(request, context)
