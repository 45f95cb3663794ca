"""The gRPC transport of the client."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import grpc

from streamer.errors import MessageTooLarge
from streamer.session.messages import ClientMessage, ServerMessage
from streamer.v1 import speech_pb2 as pb
from streamer.wire import protobuf
from streamer.wire.failure import Failure

_METHOD = "/streamer.v1.Speech/StreamingRecognize"
# A speech server is one's own: proxies of the environment are for the internet.
_OPTIONS = [("grpc.enable_http_proxy", 0)]
_EOF = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


async def open_transport(url: str) -> GrpcTransport:
    """Begin a call to `grpc://host:port`; that there is no server shows at the first read."""
    channel = grpc.aio.insecure_channel(urlsplit(url).netloc, options=_OPTIONS)
    return GrpcTransport(channel)


class GrpcTransport:
    """One `StreamingRecognize` call on a channel of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        method: Any = channel.stream_stream(
            _METHOD,
            request_serializer=pb.ClientMessage.SerializeToString,
            response_deserializer=pb.ServerMessage.FromString,
        )
        self._call: Any = method()

    async def write(self, message: ClientMessage) -> None:
        """Send one message, waiting for room; drops it if the server has ended the stream."""
        encoded = protobuf.encode_client(message)
        try:
            await self._call.write(encoded)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call is over; `read` tells why.
            return

    async def read(self) -> ServerMessage:
        """Return the next message; raises the error of the stream, or `ConnectionError`."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from None
        if message is _EOF:
            raise ConnectionError("server closed the stream before done")
        return protobuf.decode_server(message)

    async def close(self) -> None:
        """Hang up: cancels the call unless it is over."""
        self._call.cancel()
        await self._channel.close(None)


def _translate(error: grpc.aio.AioRpcError) -> Exception:
    metadata: Any = error.trailing_metadata()
    trailers: dict[str, str] = dict(metadata or ())
    details = error.details() or ""
    if "streamer-error" in trailers:
        retry = trailers.get("retry-after-ms")
        return Failure.named(trailers["streamer-error"], details, int(retry) if retry else None).to_error()
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # Refused below our code: the message exceeds what the server receives at all.
        return MessageTooLarge(details.lower())
    return ConnectionError(f"grpc call failed with {error.code().name.lower()}: {details}")
