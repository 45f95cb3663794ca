"""`/v1/listen` over WebSocket: audio in, results out; its settings are the parameters of the address."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator

import structlog
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from streamer.audio.encodings import COMPRESSED
from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.deepgram.controls import Control, read_control
from streamer.gateway.deepgram.described import (
    REQUEST_ID_HEADER,
    Event,
    RequestInfo,
    close_frame,
    error_response,
    new_request_id,
)
from streamer.gateway.deepgram.replies import Replies
from streamer.gateway.deepgram.request import LiveRequest, read_live
from streamer.gateway.frames import byte_frames, pcm_frames
from streamer.gateway.relay import ClientGone, relay
from streamer.gateway.services import Services
from streamer.gateway.sockets import farewell, sent, told
from streamer.host import Stream
from streamer.session.messages import Audio, ClientMessage, Config, Finalize, KeepAlive, ServerMessage
from streamer.wire.failure import Failure

PATH = "/v1/listen"

log = structlog.get_logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the route of live streams."""

    async def live(websocket: WebSocket) -> None:
        await _Connection(websocket, services).serve()

    return [WebSocketRoute(PATH, live)]


class _NothingHeard(Exception):
    """The client has finished before any audio told its format, so there is no stream that could end."""


class _Connection:
    """One WebSocket. Whatever can be refused before any audio is refused instead of the upgrade."""

    def __init__(self, websocket: WebSocket, services: Services) -> None:
        self._websocket = websocket
        self._services = services
        self._request_id = new_request_id()
        self._talk: _Talk | None = None

    async def serve(self) -> None:
        """Serve until the client has heard all, goes, or its stream fails."""
        try:
            stream = await self._open()
        except Exception as error:
            if not isinstance(error, StreamerError):
                log.exception("deepgram stream failed")
            await self._refuse(error)
            return
        try:
            async with farewell(self._fail, "deepgram stream failed"):
                await self._carry(stream)
        finally:
            stream.abort()

    async def _open(self) -> Stream:
        """Return the stream, admitted already if the address says how the audio is written."""
        services, websocket = self._services, self._websocket
        caller = services.access.of_websocket(websocket)
        request = read_live(websocket.query_params.multi_items(), services)
        self._talk = _Talk(request, RequestInfo(request.wanted.model, self._request_id), services)
        stream = services.host.connect(caller)
        try:
            for config in self._talk.opening():
                await stream.send(config)
                if (ready := await stream.receive()) is not None:
                    list(self._talk.replies.take(ready))
        except BaseException:
            stream.abort()
            raise
        return stream

    async def _carry(self, stream: Stream) -> None:
        assert self._talk is not None  # the stream is open
        offered = self._websocket.scope["subprotocols"]
        # Browsers show their key as the second of two subprotocols, and hang up unless one is chosen.
        chosen, headers = offered[0] if offered else None, [(REQUEST_ID_HEADER.encode(), self._request_id.encode())]
        await sent(self._websocket.accept(chosen, headers))
        with contextlib.suppress(_NothingHeard):
            await relay(stream, self._incoming(self._talk), self._write, self._services.write_timeout_s)
        await self._say([self._talk.end()])
        await sent(self._websocket.close(1000))

    async def _incoming(self, talk: _Talk) -> AsyncIterator[ClientMessage]:
        while (event := await self._websocket.receive())["type"] == "websocket.receive":
            data = event.get("bytes")
            if data is None:
                control = await self._control(event["text"])
                messages = talk.control(control)
            else:
                # Clients of the first version of the protocol end their audio with a frame that holds none.
                control = None if data else Control.CLOSE_STREAM
                messages = talk.audio(data)
            for message in messages:
                yield message
            if control is Control.FINALIZE and not talk.is_open:
                await self._say([talk.replies.nothing()])
            if control is Control.CLOSE_STREAM:
                for message in talk.rest():
                    yield message
                return
        raise ClientGone

    async def _control(self, text: str) -> Control | None:
        """Read a text frame; of one that is wrong, or cannot be served, the client is told, and goes on."""
        try:
            control = read_control(text)
        except InvalidRequest as error:
            description = {"description": str(error), "message": text[:1000]}
            await self._say([{"type": "Error", "variant": "SchemaError", **description}])
            return None
        if control is Control.CONFIGURE:
            await self._say([_configure_failure(self._request_id)])
        return control

    async def _write(self, message: ServerMessage) -> None:
        assert self._talk is not None  # the stream is open
        await self._say(self._talk.replies.take(message))

    async def _say(self, events: Iterable[Event]) -> None:
        for event in events:
            await told(self._websocket, json.dumps(event, ensure_ascii=False), self._services.write_timeout_s)

    async def _refuse(self, error: Exception) -> None:
        with contextlib.suppress(ClientGone):
            await sent(self._websocket.send_denial_response(error_response(error, self._request_id)))

    async def _fail(self, error: Exception) -> None:
        failure = Failure.of(error)
        assert self._talk is not None  # the stream was open
        kept = self._talk.replies.flush()
        last = {"type": "Error", "variant": failure.code.name, "description": failure.message}
        await self._say([*kept, last])
        await sent(self._websocket.close(*close_frame(failure)))


class _Talk:
    """What a client sends as messages for its stream, and what it is told."""

    def __init__(self, request: LiveRequest, info: RequestInfo, services: Services) -> None:
        self._request = request
        self._settings = services.settings
        self._head = request.head()
        self._config: Config | None = None
        self._hash = hashlib.sha256()
        self._has_come = False
        self.replies = Replies(request, info)

    @property
    def is_open(self) -> bool:
        """Whether the stream has a config."""
        return self._config is not None

    def opening(self) -> Iterator[Config]:
        """Yield the config, if it is known and was not sent."""
        if self._config is None and self._head.format is not None:
            self._config = self._request.config(self._head.format, self._settings.adapter_mode)
            self.replies.begin(self._config)
            yield self._config

    def audio(self, data: bytes) -> Iterator[ClientMessage]:
        """Yield messages for the next bytes; raises `InvalidRequest`."""
        self._hash.update(data)
        self._has_come = self._has_come or bool(data)
        yield from self._frames(self._head.feed(data))

    def control(self, control: Control | None) -> Iterator[ClientMessage]:
        """Yield messages for a control, if it is for the stream."""
        if not self.is_open:
            return
        if control is Control.FINALIZE:
            self.replies.asked()
            yield Finalize()
        elif control is Control.KEEP_ALIVE:
            yield KeepAlive()

    def rest(self) -> Iterator[ClientMessage]:
        """Yield messages for what was kept back; raises `InvalidRequest` if the audio ends too early."""
        if not self.is_open and not self._has_come:
            raise _NothingHeard
        yield from self._frames(self._head.finish())

    def end(self) -> Event:
        """Return the last event."""
        return self.replies.end(self._hash.hexdigest())

    def _frames(self, data: bytes) -> Iterator[ClientMessage]:
        yield from self.opening()
        if data:
            assert self._config is not None  # nothing is passed on before its format is known
            yield from self._cut(data, self._config)

    def _cut(self, data: bytes, config: Config) -> Iterator[Audio]:
        if config.encoding in COMPRESSED:
            return byte_frames(data, self._settings.session)
        return pcm_frames(data, config.encoding, config.sample_rate, self._settings.session)


def _configure_failure(request_id: str) -> Event:
    return {
        "type": "ConfigureFailure",
        "request_id": request_id,
        "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
        "description": "keyterms and features of a stream are set when it begins",
    }
