"""A transport that outlives its connections: it reconnects, resumes and sends again what the server lacks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from streamer.client.formats import frame_bytes
from streamer.client.heard import Heard
from streamer.client.journal import Journal
from streamer.client.reconnect import Attempts, BufferFull, CannotResume, Reconnect, Timing, is_retried
from streamer.client.signalling import Changes
from streamer.errors import InvalidRequest
from streamer.session.messages import (
    ClientMessage,
    Config,
    Done,
    Finalize,
    Flow,
    KeepAlive,
    Ready,
    Resume,
    ServerMessage,
    Warning,
)

# More unread messages than these, and the server is not read any more.
_MOST_UNREAD = 1024
# While the server has this share of the buffer still to process, waiting for it is better than forgetting audio.
_BACKLOG_SHARE = 0.25


class Transport(Protocol):
    """A connection that carries messages."""

    async def write(self, message: ClientMessage) -> None:
        """Send one message, waiting for room; drops it if the server has ended the stream."""

    async def read(self) -> ServerMessage:
        """Return the next message; raises the error of the stream, or `ConnectionError`."""

    async def close(self) -> None:
        """Hang up."""


Dial = Callable[[int], Awaitable[Transport]]
"""Opens the connection of an attempt, counted from 0; raises `OSError`."""


async def begin(transport: Transport, config: Config) -> Ready:
    """Send the first message of a connection and return the answer; raises what the server says instead."""
    await transport.write(config)
    ready = await transport.read()
    if not isinstance(ready, Ready):
        raise ConnectionError(f"expected ready first, got {type(ready).__name__.lower()}")
    return ready


class ResumedTransport:
    """One stream over as many connections as it takes. Made by `open_resumed`, closed by `close`.

    One task owns the connection of the moment. It reads into a bounded inbox and, beside that, sends the journal.
    """

    def __init__(self, dial: Dial, config: Config, policy: Reconnect, timing: Timing) -> None:
        self._dial = dial
        self._config = replace(config, resumable=True, resume=None)
        self._policy = policy
        self._timing = timing
        self._attempts = Attempts(policy, timing)
        self._dialled = 0
        self._capacity = max(1, round(policy.buffer_s * config.sample_rate))
        self._journal = Journal(frame_bytes(config), self._capacity)
        self._heard = Heard()
        self._inbox: deque[ServerMessage] = deque()
        self._changes = Changes()
        self._token: str | None = None
        self._model = ""
        self._acked = (0, 0)
        # How far the server of this connection has come, and how much audio it always holds back.
        self._processed = 0
        self._held_back = 0
        # Index after the last journal entry that was sent over this connection.
        self._sent = 0
        # Whether all that was written before the connection was lost has been sent again.
        self._is_live = False
        self._keep_alive = False
        self._is_over = False
        self._failure: Exception | None = None
        self._owner: asyncio.Task[None] | None = None
        # The connection of the moment, until it is closed.
        self._transport: Transport | None = None

    async def open(self) -> Ready:
        """Connect for the first time; nothing is lost yet, so whatever goes wrong is raised."""
        transport, ready = await self._connect(self._config)
        self._is_live = True
        self._owner = asyncio.create_task(self._own(transport))
        return ready

    async def write(self, message: ClientMessage) -> None:
        """Send a message; waits while the server has no room, or while the buffer has none and it is not connected.

        Raises `BufferFull` in place of the latter if the policy says so, and `InvalidRequest` for audio with a wrong
        number.
        """
        if isinstance(message, KeepAlive):
            self._keep_alive = self._is_live
            self._changes.notify()
            return
        await self._changes.until(lambda: self._is_over or self._has_room(message))
        if self._is_over:
            return
        index = self._keep(message)
        await self._changes.until(lambda: self._is_over or not self._is_live or self._sent > index)

    async def read(self) -> ServerMessage:
        """Return the next message; raises what ended the stream for good."""
        await self._changes.until(lambda: bool(self._inbox) or self._is_over)
        if not self._inbox:
            raise self._failure or ConnectionError("nothing follows done")
        message = self._inbox.popleft()
        self._changes.notify()
        return message

    async def close(self) -> None:
        """Hang up."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        if self._transport is not None:
            # The owner was about to close it.
            await self._transport.close()

    def _has_room(self, message: ClientMessage) -> bool:
        if self._journal.fits(message) or self._may_forget():
            return True
        if self._policy.overflow == "error" and not self._is_live:
            raise BufferFull(f"connection lost, {self._policy.buffer_s:g} s of audio are waiting to be sent")
        return False

    def _may_forget(self) -> bool:
        """Whether audio that is sent may go before the server acknowledges it, at the risk of not being resumable."""
        backlog = self._journal.end_sample - self._processed
        return self._is_live and backlog <= max(self._capacity * _BACKLOG_SHARE, self._held_back)

    def _keep(self, message: ClientMessage) -> int:
        index = self._journal.append(message)
        if isinstance(message, Finalize):
            self._heard.ask(message, self._journal.end_sample)
        self._journal.trim()
        self._changes.notify()
        return index

    async def _own(self, transport: Transport) -> None:
        """Carry messages over one connection after the other, until `Done` or an error that no other would mend."""
        try:
            while (lost := await self._carry(transport)) is not None:
                self._say(Warning("disconnected", str(lost)))
                transport = await self._reconnect(lost)
        except Exception as error:
            self._failure = error
        finally:
            self._is_over = True
            self._changes.notify()

    async def _carry(self, transport: Transport) -> Exception | None:
        """Return what broke the connection, None after `Done`; raises what ended the stream."""
        self._transport = transport
        reader = asyncio.create_task(self._receive(transport))
        writer = asyncio.create_task(self._transmit(transport))
        try:
            done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            # The writer never ends but by an error, of which the reader may know the reason.
            (reader if reader in done else writer).result()
        except Exception as error:
            if not is_retried(error):
                raise
            return error
        finally:
            self._is_live = False
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            self._changes.notify()
            await transport.close()
            self._transport = None
        return None

    async def _receive(self, transport: Transport) -> None:
        message: ServerMessage | None = None
        while not isinstance(message, Done):
            await self._changes.until(lambda: len(self._inbox) < _MOST_UNREAD)
            message = await transport.read()
            self._take(message)

    async def _transmit(self, transport: Transport) -> None:
        while True:
            if (message := self._journal.next()) is not None:
                await transport.write(message)
            elif self._keep_alive:
                self._keep_alive = False
                await transport.write(KeepAlive())
            else:
                self._is_live = True
                self._sent = self._journal.cursor
                self._changes.notify()
                await self._changes.until(lambda: self._journal.pending or self._keep_alive)
                continue
            self._sent = self._journal.cursor
            self._changes.notify()

    def _take(self, message: ServerMessage) -> None:
        if isinstance(message, Flow):
            self._note(message)
        elif self._heard.is_news(message):
            if not isinstance(message, Warning):
                self._attempts.progress()
        else:
            return
        self._say(message)

    def _note(self, flow: Flow) -> None:
        self._processed = flow.processed_sample
        # The token first: from then on the audio before is not asked for.
        self._token = flow.resume_token or self._token
        acked = (flow.acked_sample or 0, flow.acked_controls or 0)
        if acked > self._acked:
            self._acked = acked
            self._attempts.progress()
            self._journal.forget(*acked)

    def _say(self, message: ServerMessage) -> None:
        if self._inbox and isinstance(message, Flow) and isinstance(self._inbox[-1], Flow):
            # Of two reports in a row only the latter matters.
            self._inbox.pop()
        self._inbox.append(message)
        self._changes.notify()

    async def _reconnect(self, error: Exception) -> Transport:
        while True:
            await self._timing.sleep(self._attempts.next_delay(error))
            try:
                return await self._resume()
            except Exception as failed:
                if not is_retried(failed):
                    raise
                error = failed

    async def _resume(self) -> Transport:
        """Connect and take the stream up, or begin it again if there is no token for it, or none that holds."""
        resume = None if self._token is None else Resume(self._token, self._heard.segments)
        limit_s = self._policy.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                try:
                    transport, ready = await self._connect(replace(self._config, resume=resume))
                except InvalidRequest:
                    # A server that was restarted may have another secret. While all is kept, no token is needed.
                    if resume is None or self._journal.first_sample > 0:
                        raise
                    self._token = None
                    transport, ready = await self._connect(self._config)
        except TimeoutError:
            raise ConnectionError(f"no answer within {limit_s:g} s") from None
        self._say(Warning("reconnected", f"resumed from sample {ready.next_sample}"))
        return transport

    async def _connect(self, config: Config) -> tuple[Transport, Ready]:
        transport = await self._next_dial()
        try:
            ready = await begin(transport, config)
            self._take_up(ready)
        except BaseException:
            await transport.close()
            raise
        return transport, ready

    def _take_up(self, ready: Ready) -> None:
        self._model = self._model or ready.model
        if ready.model != self._model:
            raise CannotResume(f"cannot resume: the stream began with {self._model}, the server has {ready.model}")
        self._journal.rewind(ready.next_sample, ready.next_control)
        self._token = ready.resume_token or self._token
        self._processed = ready.next_sample
        self._held_back = round((2 * ready.chunk_ms + ready.delay_ms) * self._config.sample_rate / 1000)
        self._sent = 0

    async def _next_dial(self) -> Transport:
        self._dialled += 1
        return await self._dial(self._dialled - 1)
