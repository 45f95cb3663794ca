"""`/v1/realtime`: Realtime transcription sessions over WebSocket, in the GA shape of the protocol and the beta one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING

import structlog
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from streamer.audio.pcm import bytes_per_sample
from streamer.errors import StreamerError, StreamTimeout
from streamer.gateway.openai.inbox import Inbox
from streamer.gateway.openai.realtime_events import Event, error_event, event_text
from streamer.gateway.openai.realtime_session import Session
from streamer.gateway.relay import relay
from streamer.gateway.services import Services
from streamer.gateway.sockets import farewell, sent, told
from streamer.session.messages import Audio, ClientMessage, Config, Done, Finalize, ServerMessage
from streamer.wire.failure import Failure

if TYPE_CHECKING:
    from streamer.host import Stream

PATH = "/v1/realtime"
_SUBPROTOCOL = "realtime"
_BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
# How long a connection may be without any event of its client.
_QUIET_S = 600.0
# How far live audio may run ahead of the clock before it is held back, instead of being refused like other live audio.
_AHEAD_S = 1.0

log = structlog.get_logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the route of Realtime sessions."""

    async def realtime(websocket: WebSocket) -> None:
        await _Connection(websocket, services).serve()

    return [WebSocketRoute(PATH, realtime)]


class _Connection:
    """One WebSocket. While audio comes there is a stream behind it; that ends, and frees its slot, when none does."""

    def __init__(self, websocket: WebSocket, services: Services) -> None:
        self._websocket = websocket
        self._services = services
        self._inbox = Inbox(websocket)

    async def serve(self) -> None:
        """Serve until the client goes, or its stream fails."""
        try:
            async with farewell(self._fail, "realtime session failed"):
                offered = self._websocket.scope["subprotocols"]
                # A browser cannot read the status of a refused upgrade: accept first, then say what is wrong.
                await sent(self._websocket.accept(_SUBPROTOCOL if _SUBPROTOCOL in offered else None))
                caller = self._services.access.of_websocket(self._websocket)
                beta = "realtime=v1" in self._websocket.headers.get("openai-beta", "") or _BETA_SUBPROTOCOL in offered
                session = Session(self._services, self._websocket.query_params, beta)
                await self.say([session.created()])
                while True:
                    first = await self._until_audio(session)
                    await self._stream(session, self._services.host.connect(caller), first)
        finally:
            await self._inbox.close()

    async def say(self, events: Iterable[Event]) -> None:
        """Send events; raises `SlowReader` when one is not taken, and `ClientGone`."""
        for event in events:
            await told(self._websocket, event_text(event), self._services.write_timeout_s)

    async def next_messages(self, session: Session, timeout_s: float) -> Sequence[ClientMessage] | None:
        """Answer the next event; returns what it is for the stream, None if none came in time."""
        message = await self._inbox.get(timeout_s)
        if message is None:
            return None
        said, messages = await session.take(message)
        await self.say(said)
        return messages

    async def _until_audio(self, session: Session) -> Sequence[ClientMessage]:
        """Answer events until one brings audio; returns what that is for a stream."""
        while (messages := await self.next_messages(session, _QUIET_S)) is not None:
            if any(isinstance(message, Audio) for message in messages):
                return messages
            for message in messages:
                if isinstance(message, Finalize):
                    # There is no stream, so all that was heard is final already.
                    await self.say(session.turns.finalized(message.id))
        raise StreamTimeout(f"no event within {_QUIET_S:g} s")

    async def _stream(self, session: Session, stream: Stream, first: Sequence[ClientMessage]) -> None:
        carrier = _Carrier(self, self._inbox, session, stream, self._services)
        try:
            await relay(stream, carrier.incoming(first), carrier.write, self._services.write_timeout_s)
        except StreamerError as error:
            await self.say(session.turns.failed(error))
            raise

    async def _fail(self, error: Exception) -> None:
        code = Failure.of(error).code
        await self.say([error_event(error)])
        await sent(self._websocket.close(code.websocket, code.name))


class _Carrier:
    """Carries one stream of a session: both ends of a relay."""

    def __init__(
        self, connection: _Connection, inbox: Inbox, session: Session, stream: Stream, services: Services
    ) -> None:
        self._connection = connection
        self._inbox = inbox
        self._session = session
        self._stream = stream
        limits = services.settings.session
        # Before the stream is idle for too long it is ended in good order; the next audio begins another one.
        self._idle_s = limits.idle_timeout_ms / 2000
        self._ahead_s = min(_AHEAD_S, limits.max_ahead_ms / 2000)
        self._sent_s = 0.0
        # Set before `End` is sent, after which no item can be finalized on its own; it finalizes them all.
        self._ending = False

    async def incoming(self, first: Sequence[ClientMessage]) -> AsyncIterator[ClientMessage]:
        """Yield the config, then what the client sends, until it rests or changes what needs another stream."""
        config = self._session.config()
        clock = asyncio.get_running_loop().time
        began = clock()
        yield config
        messages: Sequence[ClientMessage] | None = first
        while messages is not None:
            for message in messages:
                if isinstance(message, Audio) and config.mode == "live":
                    await self._hold_back(message, config, clock() - began)
                yield message
            if self._session.restarts:
                break
            messages = await self._connection.next_messages(self._session, self._idle_s)
        self._ending = True

    async def write(self, message: ServerMessage) -> None:
        """Say what a message of the stream is for the client."""
        closed, said = self._session.turns.take(message)
        await self._connection.say(said)
        if closed is not None and not self._ending:
            await self._stream.send(Finalize(closed))
        if isinstance(message, Done):
            await self._connection.say(self._session.stream_ended())

    async def _hold_back(self, frame: Audio, config: Config, elapsed_s: float) -> None:
        wait_s = self._sent_s - elapsed_s - self._ahead_s
        if wait_s > 0:
            await self._inbox.pause(wait_s)
        self._sent_s += len(frame.data) / bytes_per_sample(config.encoding) / config.sample_rate
