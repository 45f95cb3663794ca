"""Messages of one stream that its client has not taken yet."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

from streamer.errors import SlowReader, StreamerError
from streamer.session.messages import AudioOut, Flow, Packets, Result, ServerMessage

# Coded or decoded audio that may wait to be read before no more of it is made: 8 s at 16 kHz and 16 bits.
_FULL_BYTES = 1 << 18


class Outbox:
    """A queue between the worker thread that fills it and the event loop that empties it.

    An interim result or a `Flow` that nobody has read yet is replaced by its successor; everything else is kept, in
    order. It cannot grow without bound: `check` reports a client that leaves messages unread for `unread_limit_s`.
    What replaces a message takes its place and its age, so a reader that is stuck cannot hide behind replacements. Only
    a `Flow` with a resume token goes last: its client must have read all that the token says it has.

    A few bytes of packets may be hours of audio. So whoever makes coded or decoded audio waits while the box `is_full`.
    """

    def __init__(self, unread_limit_s: float) -> None:
        self._unread_limit_s = unread_limit_s
        self._lock = threading.Lock()
        # (time it was put, message) in the order of reading
        self._messages: deque[tuple[float, ServerMessage]] = deque()
        # What ended the stream; raised once the messages before it are read.
        self._error: StreamerError | None = None
        self._closed = False
        self._unread_bytes = 0

    def put(self, message: ServerMessage, now: float) -> None:
        """Append `message`, or put it in the place of an unread one that it supersedes."""
        with self._lock:
            if self._closed:
                return
            self._unread_bytes += _size(message)
            # Nothing else supersedes anything, and there may be many messages to look through.
            places = reversed(range(len(self._messages))) if isinstance(message, Flow | Result) else ()
            for index in places:
                put_at, unread = self._messages[index]
                if _supersedes(message, unread):
                    self._replace(index, put_at, message)
                    return
            self._messages.append((now, message))

    def _replace(self, index: int, put_at: float, message: ServerMessage) -> None:
        unread = self._messages[index][1]
        if isinstance(message, Flow) and isinstance(unread, Flow):
            if message.resume_token is not None:
                del self._messages[index]
                self._messages.append((put_at, message))
                return
            acked = unread.acked_sample, unread.acked_controls, unread.resume_token
            message = replace(message, acked_sample=acked[0], acked_controls=acked[1], resume_token=acked[2])
        self._messages[index] = (put_at, message)

    def close(self, error: StreamerError | None = None) -> None:
        """Nothing follows but `error`; the first call decides."""
        with self._lock:
            if not self._closed:
                self._closed, self._error = True, error

    def take(self) -> ServerMessage | None:
        """Return the next message, or None if there is none now; raises the error that ended the stream."""
        with self._lock:
            if self._messages:
                message = self._messages.popleft()[1]
                self._unread_bytes -= _size(message)
                return message
            if self._error is not None:
                raise self._error
            return None

    @property
    def finished(self) -> bool:
        """Whether the stream ended well and every message was taken."""
        with self._lock:
            return self._closed and not self._messages and self._error is None

    @property
    def is_full(self) -> bool:
        """Whether so much audio waits to be read that no more should be made."""
        return self._unread_bytes >= _FULL_BYTES

    @property
    def has_news(self) -> bool:
        """Whether `take` would return a message or raise."""
        with self._lock:
            return bool(self._messages) or self._closed

    def check(self, now: float) -> None:
        """Raise `SlowReader` if the oldest unread message is older than the limit."""
        with self._lock:
            # A message that has moved to the end is still as old as what it replaced.
            unread = now - min((put_at for put_at, _ in self._messages), default=now)
            limit = self._unread_limit_s
            if unread > limit and not self._closed:
                raise SlowReader(f"results left unread for {unread:.1f} s, expected to be read within {limit:g} s")


def _size(message: ServerMessage) -> int:
    return len(message.data) if isinstance(message, Packets | AudioOut) else 0


def _supersedes(new: ServerMessage, old: ServerMessage) -> bool:
    if isinstance(new, Flow):
        return isinstance(old, Flow)
    return isinstance(new, Result) and isinstance(old, Result) and not old.is_final and new.segment_id == old.segment_id
