"""What a client has sent and the server may ask for again: audio and controls, in order, within bounds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streamer.client.reconnect import CannotResume
from streamer.errors import InvalidRequest
from streamer.session.messages import Audio, Cancel, ClientMessage, End, Finalize, Update

# Frames of a few samples cost more than their samples; a flood of them must end somewhere too.
_MOST_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    """A message between the samples `start` and `end`; `control` is its number if it is a numbered control."""

    message: ClientMessage
    start: int
    end: int
    control: int | None = None


class Journal:
    """Keeps what was written until it is acknowledged, and hands it out for sending, once per connection.

    Entries have indices that count from 0 and never change; `next` hands out the one at the cursor.
    """

    def __init__(self, frame_bytes: int, capacity: int) -> None:
        """`frame_bytes` hold one sample of all channels; `capacity` is in samples."""
        self._frame_bytes = frame_bytes
        self._capacity = capacity
        self._entries: deque[_Entry] = deque()
        # Index of the oldest entry that is kept, and of the next one to hand out.
        self._first = 0
        self._cursor = 0
        # Samples and controls written in all.
        self._end = 0
        self._controls = 0
        # What is no longer kept ends here.
        self._forgotten_sample = 0
        self._forgotten_controls = 0
        # What the server of this connection need not be sent.
        self._skip_sample = 0
        self._skip_controls = 0
        # Whether what is no longer kept will not be missed.
        self._cancelled = False

    @property
    def end_sample(self) -> int:
        """Samples written in all."""
        return self._end

    @property
    def first_sample(self) -> int:
        """The oldest sample that is kept."""
        return self._forgotten_sample

    @property
    def held_samples(self) -> int:
        """Samples that are kept."""
        return self._end - self._forgotten_sample

    @property
    def cursor(self) -> int:
        """Index of the next entry to hand out."""
        return self._cursor

    @property
    def pending(self) -> bool:
        """Whether there is something to hand out."""
        return self._cursor < self._first + len(self._entries)

    def fits(self, message: ClientMessage) -> bool:
        """Whether the message can be kept beside all that is kept; one alone always can."""
        if not self._entries:
            return True
        samples = self._samples(message)
        return len(self._entries) < _MOST_ENTRIES and (not samples or self.held_samples + samples <= self._capacity)

    def append(self, message: ClientMessage) -> int:
        """Keep a message and return its index; raises `InvalidRequest` for audio that says it is at another sample."""
        if isinstance(message, Audio):
            if message.first_sample is not None and message.first_sample != self._end:
                raise InvalidRequest(f"expected first_sample {self._end}, got {message.first_sample}")
            # Another connection may count otherwise, and not every transport can number audio.
            message = Audio(message.data)
        elif isinstance(message, Cancel):
            self._drop_all()
        start, self._end = self._end, self._end + self._samples(message)
        number = None
        if isinstance(message, Finalize | Update):
            number, self._controls = self._controls, self._controls + 1
        self._entries.append(_Entry(message, start, self._end, number))
        return self._first + len(self._entries) - 1

    def next(self) -> ClientMessage | None:
        """Hand out the next message that the server lacks, None if there is none for now."""
        while self.pending:
            entry = self._entries[self._cursor - self._first]
            self._cursor += 1
            message = self._missing(entry)
            if message is not None:
                return message
        return None

    def rewind(self, next_sample: int, next_control: int) -> None:
        """A new connection: hand out everything from this sample and this control on.

        Raises `CannotResume` if it is not kept any more.
        """
        is_kept = next_sample >= self._forgotten_sample and next_control >= self._forgotten_controls
        if not is_kept and not self._cancelled:
            wanted = f"the server wants audio from sample {next_sample} on"
            raise CannotResume(f"cannot resume: {wanted}, kept is {self._forgotten_sample} on")
        self._cursor = self._first
        self._skip_sample, self._skip_controls = next_sample, next_control

    def forget(self, sample: int, controls: int) -> None:
        """Drop what ends by `sample`, and the first `controls` numbered controls."""
        while self._entries and _is_acknowledged(self._entries[0], sample, controls):
            self._drop_oldest()

    def trim(self) -> bool:
        """Drop the oldest entries, all handed out before, until the rest is within capacity; whether any was."""
        trimmed = False
        while self._first < self._cursor and (self._is_over or len(self._entries) > _MOST_ENTRIES):
            self._drop_oldest()
            trimmed = True
        return trimmed

    @property
    def _is_over(self) -> bool:
        return self.held_samples > self._capacity and len(self._entries) > 1

    def _missing(self, entry: _Entry) -> ClientMessage | None:
        """Return what of the entry the server of this connection lacks."""
        if entry.control is not None:
            return entry.message if entry.control >= self._skip_controls else None
        if not isinstance(entry.message, Audio) or entry.start >= self._skip_sample:
            return entry.message
        if entry.end <= self._skip_sample:
            return None
        return Audio(entry.message.data[(self._skip_sample - entry.start) * self._frame_bytes :])

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        self._first += 1
        self._cursor = max(self._cursor, self._first)
        self._forgotten_sample = max(self._forgotten_sample, entry.end)
        if entry.control is not None:
            self._forgotten_controls = entry.control + 1

    def _drop_all(self) -> None:
        while self._entries:
            self._drop_oldest()
        self._cancelled = True

    def _samples(self, message: ClientMessage) -> int:
        return len(message.data) // self._frame_bytes if isinstance(message, Audio) else 0


def _is_acknowledged(entry: _Entry, sample: int, controls: int) -> bool:
    if isinstance(entry.message, End | Cancel):
        # The last word is remembered: it is answered by `Done`.
        return False
    return entry.end <= sample if entry.control is None else entry.control < controls
