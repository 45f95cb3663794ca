"""The TCP server of the Wyoming protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import structlog

from streamer.errors import InvalidRequest, Overloaded, StreamerError, StreamTimeout
from streamer.gateway.credentials import network_of
from streamer.gateway.frames import pcm_frames
from streamer.gateway.relay import ClientGone, relay
from streamer.gateway.services import Services
from streamer.gateway.wyoming import requests
from streamer.gateway.wyoming.events import MAX_HEADER_BYTES, Event, encode, read_event
from streamer.gateway.wyoming.transcript import TranscriptWriter
from streamer.host.callers import Caller
from streamer.session.messages import ClientMessage, Config, ServerMessage
from streamer.wire.failure import Failure

_BACKLOG = 1024
# How long a client that is shown an error may take to read it and to close.
_FAREWELL_S = 1.0
# Requests of services that this one is not: without an answer their clients would wait for ever.
_OTHER_SERVICES = frozenset({"synthesize", "synthesize-start", "detect", "recognize", "run-pipeline", "run-satellite"})

log = structlog.get_logger()


class WyomingServer:
    """Serves the Wyoming protocol at one address; port 0 takes a free one."""

    def __init__(self, services: Services, is_port_shared: bool = False) -> None:
        self._services = services
        self._is_port_shared = is_port_shared
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}

    async def start(self, address: str, port: int) -> int:
        """Bind and serve; returns the port. Raises `OSError` if it cannot be bound."""
        try:
            self._server = await asyncio.start_server(
                self._serve,
                address,
                port,
                limit=MAX_HEADER_BYTES,
                backlog=_BACKLOG,
                reuse_port=self._is_port_shared or None,
            )
        except OSError as error:
            raise OSError(f"cannot bind wyoming to {address}:{port}: {error.strerror or error}") from None
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, grace_s: float) -> None:
        """Close the port and the idle connections; streams still running after `grace_s` are cut off. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        busy = [task for task, connection in self._connections.items() if connection.is_busy]
        if busy and grace_s:
            # Last words must leave before connections close.
            await asyncio.wait(busy, timeout=grace_s)
        for task, connection in self._connections.items():
            connection.cut_off()
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(reader, writer, self._services)
        n_waiting = sum(not other.is_busy for other in self._connections.values())
        self._connections[task] = connection
        try:
            await connection.serve(n_waiting)
        except asyncio.CancelledError:
            # Only `stop` cancels. asyncio reports a handler that ends as cancelled as an error of its own.
            pass
        finally:
            del self._connections[task]
            writer.close()


class _Connection:
    """One client: any number of transcripts one after the other, each a stream of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, services: Services) -> None:
        self._reader = reader
        self._writer = writer
        self._services = services
        self._request = requests.Request()
        self.is_busy = False

    async def serve(self, n_waiting: int) -> None:
        """Serve the client beside `n_waiting` others that have no stream open."""
        try:
            if n_waiting >= self._services.settings.access.max_opening:
                raise Overloaded(f"{n_waiting} connections have no stream open, try again later")
            caller = self._caller()
            while (event := await self._next_request()) is not None:
                await self._take(event, caller)
        except ClientGone:
            self._writer.transport.abort()
        except StreamerError as error:
            await self._fail(Failure.of(error))
        except Exception as error:
            log.exception("wyoming connection failed")
            await self._fail(Failure.of(error))

    def cut_off(self) -> None:
        """Drop what a stream that is still open has not said; between two streams what was said still leaves."""
        if self.is_busy:
            self._writer.transport.abort()

    def _caller(self) -> Caller:
        """Who this is: the protocol carries no credentials, so everybody or nobody comes in."""
        services = self._services
        address = network_of((self._writer.get_extra_info("peername") or ("",))[0])
        is_open = services.settings.wyoming_open
        return services.access.stranger(address) if is_open else services.access.caller(None, address)

    async def _next_request(self) -> Event | None:
        limit_s = self._services.settings.session.idle_timeout_ms / 1000
        try:
            async with asyncio.timeout(limit_s):
                return await read_event(self._reader)
        except TimeoutError:
            raise StreamTimeout(f"no event within {limit_s:g} s") from None

    async def _take(self, event: Event, caller: Caller) -> None:
        """Act on an event between two streams."""
        match event.type:
            case "transcribe":
                self._request = requests.read_request(event.data)
            case "audio-start":
                await self._transcribe(requests.read_format(event.data), caller)
            case "audio-chunk" | "audio-stop":
                raise InvalidRequest(f"expected audio-start before {event.type}")
            case _:
                await self._answer(event)

    async def _answer(self, event: Event) -> None:
        """Answer what may be asked at any time. Other events are dropped, as the protocol wants it."""
        match event.type:
            case "describe":
                await self._write(requests.info(self._services.host.models()))
            case "ping":
                await self._write(Event("pong", {"text": requests.text_of(event.data, "text")}))
            case "select-program" if event.data.get("name") != requests.PROGRAM:
                raise InvalidRequest(f"select-program: expected {requests.PROGRAM}, got {event.data.get('name')!r:.60}")
            case kind if kind in _OTHER_SERVICES:
                raise InvalidRequest(f"this server transcribes, expected no {kind}")
            case _:
                pass

    async def _transcribe(self, rate: int, caller: Caller) -> None:
        """Serve one stream, from `audio-start` to its transcript."""
        services, request = self._services, self._request
        self._request = requests.Request()
        config = requests.config_of(request, rate, services.settings.adapter_mode, services.host.models())
        transcript = TranscriptWriter(config.language)

        async def write(message: ServerMessage) -> None:
            for event in transcript.events(message):
                await self._send(event)

        self.is_busy = True
        try:
            await relay(services.host.connect(caller), self._incoming(config), write, services.write_timeout_s)
        finally:
            self.is_busy = False

    async def _incoming(self, config: Config) -> AsyncIterator[ClientMessage]:
        yield config
        while (event := await read_event(self._reader)) is not None:
            match event.type:
                case "audio-chunk":
                    rate = requests.read_format(event.data)
                    if rate != config.sample_rate:
                        raise InvalidRequest(f"audio-chunk rate: expected {config.sample_rate}, got {rate}")
                    for frame in pcm_frames(event.payload, config.encoding, rate, self._services.settings.session):
                        yield frame
                case "audio-stop":
                    return
                case "transcribe" | "audio-start":
                    raise InvalidRequest(f"expected audio-stop before {event.type}")
                case _:
                    await self._answer(event)
        raise ClientGone

    async def _write(self, event: Event) -> None:
        try:
            async with asyncio.timeout(self._services.write_timeout_s):
                await self._send(event)
        except TimeoutError:
            raise ClientGone from None

    async def _send(self, event: Event) -> None:
        try:
            # In one piece, because an answer to `ping` may come between the events of a transcript.
            self._writer.write(encode(event))
            await self._writer.drain()
        except ConnectionError:
            raise ClientGone from None

    async def _fail(self, failure: Failure) -> None:
        """Say what is wrong, then close; who does not read will not read this either."""
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._send(Event("error", {"text": failure.message, "code": failure.code.name}))
                self._writer.write_eof()
                # A socket that is closed over unread audio is reset, and the error might be lost with it.
                while await self._reader.read(MAX_HEADER_BYTES):
                    pass
        except (ClientGone, TimeoutError, OSError):
            self._writer.transport.abort()
