"""Connections of uvicorn, HTTP and WebSocket, held to limits of time, of size and of the work that one may make."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

# Above the frame limit of a session, which answers with a clear error; what exceeds this too is cut off with 1009.
MAX_MESSAGE_BYTES = 1 << 20
# Protocols that promise more, by path: Realtime clients may send 15 MiB of audio at once, in base64.
LARGER_MESSAGES = {"/v1/realtime": 21 << 20}
# The head of a request, as far as it has come without an end.
MAX_HEAD_BYTES = 65536
# How long the head of a request may take; those who just connect and wait are sent away after it too.
REQUEST_HEAD_S = 15.0
# How long a connection may go on after its stream has ended, for the last words to be taken.
LINGER_S = 5.0
# Fragments, pings and pongs between two whole messages. Libraries cut messages into pieces of some KiB, not of bytes.
MOST_FRAMES = 10_000
# All that comes at once is parsed at once: asyncio's 256 KiB may be 40,000 frames, and nobody else is served meanwhile.
_READ_BYTES = 16384
_POLICY_VIOLATION = 1008
_INVALID_UTF8 = 1007


class HttpProtocol(H11Protocol):
    """Gives a request's head a limited time to arrive; uvicorn waits for ever. Refuses what can be read in two ways."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a head."""
        _read_little(transport)
        super().connection_made(transport)
        self.conn = _StrictConnection(h11.SERVER, MAX_HEAD_BYTES)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self._is_between_requests and self._head_timer is None:
            self._expect_head()
        super().data_received(data)

    def handle_events(self) -> None:
        """Take what has come; a head that is whole needs no more time."""
        super().handle_events()
        if not self._is_between_requests:
            self._forget_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over."""
        self._forget_head()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, also in the middle of a body."""
        if not self._is_between_requests:
            # The body is wrong. What the app still says would be the second answer to one request: it is dropped.
            begun = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if begun:
                self.transport.close()
                return
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            # uvicorn would say why in a body, which the answer to HEAD does not have; its head has left.
            self.transport.close()

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(REQUEST_HEAD_S, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Limits messages by the path that they are for, and the frames that they may be cut into.

    This implementation reads on only when the app has taken what came: back-pressure reaches the client.
    """

    _n_frames = 0

    def data_received(self, data: bytes) -> None:
        """Take frames, or first the head of the upgrade."""
        super().data_received(data)
        # It is given the whole head at once. One that websockets cannot read it would wait on for ever.
        if not self.handshake_initiated:
            self._refuse_upgrade()

    def handle_connect(self, event: Request) -> None:
        """Set the limit of messages, and go on."""
        names = (name for name, value in event.headers.raw_items() if not value.isascii())
        if any(name.lower().startswith("sec-websocket-") for name in names):
            # websockets would raise while it says so.
            self._refuse_upgrade()
            return
        limit = LARGER_MESSAGES.get(event.path.partition("?")[0], MAX_MESSAGE_BYTES)
        # websockets 16 gave it another name.
        setattr(self.conn, "max_size" if hasattr(self.conn, "max_size") else "max_message_size", limit)
        super().handle_connect(event)

    def handle_cont(self, event: Frame) -> None:
        """Take a further fragment."""
        if self._may_come():
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer a ping."""
        if self._may_come():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Take a pong."""
        if self._may_come():
            super().handle_pong(event)

    def send_receive_event_to_app(self) -> None:
        """Pass on a whole message."""
        self._n_frames = 0
        if self.curr_msg_data_type == "text":
            text = b"".join(self.frames)
            self.frames = [text]
            if not _is_utf8(text):
                # uvicorn would log a traceback of it.
                self._fail(_INVALID_UTF8, "")
                return
        super().send_receive_event_to_app()

    async def receive(self) -> Any:
        """Give the app its next message, and others their turn."""
        if not self.queue.empty():
            # Whoever sends thousands of messages at once must not keep the others waiting until all are taken.
            await asyncio.sleep(0)
        return await super().receive()

    async def send(self, message: Any) -> None:
        """Send a message of the app."""
        if self.handshake_complete and self.transport.is_closing() and not self.close_sent:
            # Otherwise asyncio logs a line for each message that is written after the client is gone.
            raise ClientDisconnected()
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # A refused upgrade is complete. uvicorn forgets that, and would log an error for each.
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        """Run the app, and then wait for the last words to be taken."""
        try:
            await super().run_asgi()
        finally:
            # Closing waits until what was written is taken, which a client that does not read never does.
            self.loop.call_later(LINGER_S, self.transport.abort)

    def _may_come(self) -> bool:
        """Count a frame that is no message; fail the connection when there are too many of them."""
        self._n_frames += 1
        if self._n_frames > MOST_FRAMES:
            self._fail(_POLICY_VIOLATION, f"more than {MOST_FRAMES} frames without a message")
            return False
        return True

    def _fail(self, code: int, reason: str) -> None:
        if not self.close_sent:
            self.conn.send_close(code, reason)
            self.handle_parser_exception()

    def _refuse_upgrade(self) -> None:
        if self.transport.is_closing():
            return
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.close()


class _StrictConnection(h11.Connection):
    """Refuses a request whose length is given in two ways: a proxy may have believed the other (RFC 9112, 6.3)."""

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("expected one of content-length and transfer-encoding, got both")
        return event


def _read_little(transport: asyncio.Transport) -> None:
    """Have asyncio take at most `_READ_BYTES` from the socket at once; there is no public way to ask for it."""
    reader = getattr(transport, "_ssl_protocol", transport)
    if hasattr(reader, "max_size"):
        reader.max_size = min(_READ_BYTES, reader.max_size)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
