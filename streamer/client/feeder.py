"""Sends the chunks of an iterable that may block, such as a microphone's or a writer's, from a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future

from streamer.client.background import Background
from streamer.client.formats import BYTES_PER_SAMPLE, block_bytes
from streamer.client.stream import ClientStream
from streamer.session.messages import Config, ServerMessage

# Well within what a server takes in one message, and short enough for text to follow closely.
_FRAME_S = 0.1
_TEXT_PART = 4000


class Feeder:
    """Feeds one stream, of audio, packets or text.

    The thread is a daemon: nothing can wake it while the iterable keeps it waiting.
    """

    def __init__(
        self, chunks: Iterable[bytes | str], config: Config, stream: ClientStream, background: Background
    ) -> None:
        self._chunks = chunks
        self._frames = _Frames(config)
        self._stream = stream
        self._background = background
        self._stopped = threading.Event()
        self._sending: Future[None] | None = None
        self._failed: Future[None] = Future()
        # The same for the event loop, from the first `receive` on.
        self._failing: asyncio.Future[None] | None = None
        threading.Thread(target=self._feed, name="streamer-feeder", daemon=True).start()

    def stop(self) -> None:
        """Send no more; the iterable is asked for one chunk more at most."""
        self._stopped.set()
        if self._sending is not None:
            self._sending.cancel()

    async def receive(self) -> ServerMessage | None:
        """Return the next message of the stream; raises what ended it, or what the iterable raised."""
        if self._failing is None:
            self._failing = asyncio.wrap_future(self._failed)
        receiving = asyncio.ensure_future(self._stream.receive())
        try:
            await asyncio.wait((receiving, self._failing), return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                self._failing.result()
            return await receiving
        finally:
            receiving.cancel()

    def _feed(self) -> None:
        try:
            for chunk in self._chunks:
                if self._stopped.is_set():
                    return
                for frame in self._frames.cut(chunk):
                    self._send(frame)
            for frame in self._frames.rest():
                self._send(frame)
            self._background.run(self._stream.end())
        except (CancelledError, asyncio.CancelledError):
            return
        except Exception as error:
            if not self._stopped.is_set():
                self._failed.set_exception(error)

    def _send(self, frame: bytes | str) -> None:
        sending = self._stream.say(frame) if isinstance(frame, str) else self._stream.send(frame)
        self._sending = self._background.submit(sending)
        if self._stopped.is_set():
            self._sending.cancel()
        self._sending.result()


class _Frames:
    """Cuts chunks of any size into messages of whole samples, or of some text."""

    def __init__(self, config: Config) -> None:
        size = BYTES_PER_SAMPLE.get(config.encoding)
        self._sample_bytes = 1 if size is None else size * max(1, config.channels)
        samples = max(1, round(_FRAME_S * config.sample_rate))
        self._most = block_bytes(config.encoding) if size is None else samples * self._sample_bytes
        self._left = b""

    def cut(self, chunk: bytes | str) -> Iterator[bytes | str]:
        if isinstance(chunk, str):
            for start in range(0, len(chunk), _TEXT_PART):
                yield chunk[start : start + _TEXT_PART]
            return
        data = self._left + bytes(chunk)
        whole = len(data) - len(data) % self._sample_bytes
        self._left = data[whole:]
        for start in range(0, whole, self._most):
            yield data[start : min(start + self._most, whole)]

    def rest(self) -> Iterator[bytes]:
        # Part of a sample, for the server to refuse.
        if self._left:
            yield self._left
