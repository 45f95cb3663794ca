"""The gRPC transport of the client."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs lack it

from streamer.client.access import ANYBODY, Access
from streamer.errors import MessageTooLarge, PermissionDenied, StreamerError, Unauthenticated
from streamer.session.messages import ClientMessage, ServerMessage
from streamer.v1 import speech_pb2 as pb
from streamer.wire import protobuf
from streamer.wire.failure import Failure

_METHOD = "/streamer.v1.Speech/StreamingRecognize"
_OPTIONS = [
    # A speech server is one's own: proxies of the environment are for the internet.
    ("grpc.enable_http_proxy", 0),
    # Find a server that vanished without closing. No more pings than servers allow: one that gets too many hangs up.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]
# A call that fails below our code, in front of which a proxy may have answered.
_BARE_CODES: dict[grpc.StatusCode, type[StreamerError]] = {
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    # The message exceeds what the server receives at all.
    grpc.StatusCode.RESOURCE_EXHAUSTED: MessageTooLarge,
}
_EOF = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


def open_channel(url: str, access: Access) -> grpc.aio.Channel:
    """Return a channel to `grpc://host:port` or, encrypted, `grpcs://host:port`, not yet connected."""
    parts = urlsplit(url)
    if parts.scheme == "grpcs":
        return grpc.aio.secure_channel(parts.netloc, access.channel_credentials(), options=_OPTIONS)
    return grpc.aio.insecure_channel(parts.netloc, options=_OPTIONS)


async def open_transport(url: str, access: Access = ANYBODY) -> GrpcTransport:
    """Begin a call to `grpc://host:port` or `grpcs://`; that there is no server shows at the first read."""
    return GrpcTransport(open_channel(url, access), access)


class GrpcTransport:
    """One `StreamingRecognize` call on a channel of its own."""

    def __init__(self, channel: grpc.aio.Channel, access: Access = ANYBODY) -> None:
        self._channel = channel
        method: Any = channel.stream_stream(
            _METHOD,
            # Never called: see `write`.
            request_serializer=bytes,
            response_deserializer=pb.ServerMessage.FromString,
        )
        self._call: Any = method(metadata=access.metadata)

    async def write(self, message: ClientMessage) -> None:
        """Send one message, waiting for room; drops it if the server has ended the stream."""
        encoded = protobuf.encode_client(message).SerializeToString()
        try:
            await self._call.wait_for_connection()
            # Not `write`: where the server ends the call under it, that puts a status of its own in the place of the
            # server's, and what the server said before can be read no more.
            await self._call._cython_call.send_serialized_message(encoded)
        except (grpc.aio.AioRpcError, cygrpc.InternalError):
            # The call is over; `read` tells why.
            return

    async def read(self) -> ServerMessage:
        """Return the next message; raises the error of the stream, or `ConnectionError`."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None
        if message is _EOF:
            raise ConnectionError("server closed the stream before done")
        return protobuf.decode_server(message)

    async def close(self) -> None:
        """Hang up: cancels the call unless it is over."""
        self._call.cancel()
        await self._channel.close(None)


def translate(error: grpc.aio.AioRpcError) -> Exception:
    """Return the error of the stream that a failed call stands for, or a `ConnectionError`."""
    metadata: Any = error.trailing_metadata()
    trailers: dict[str, str] = dict(metadata or ())
    details = error.details() or ""
    if "streamer-error" in trailers:
        retry = trailers.get("retry-after-ms")
        return Failure.named(trailers["streamer-error"], details, int(retry) if retry else None).to_error()
    if error.code() in _BARE_CODES:
        return _BARE_CODES[error.code()](details.lower())
    return ConnectionError(f"grpc call failed with {error.code().name.lower()}: {details}")
