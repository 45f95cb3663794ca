"""Cuts what a Realtime session hears into conversation items, each with its text. No socket and no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamer.errors import StreamerError
from streamer.gateway.openai.answers import usage
from streamer.gateway.openai.errors import BadParameter, describe
from streamer.gateway.openai.growing import GrowingText
from streamer.gateway.openai.realtime_events import Event, new_id, server_event
from streamer.session.messages import Finalized, Result, ServerMessage, SpeechEvent

if TYPE_CHECKING:
    from streamer.gateway.openai.realtime_settings import RealtimeSettings

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass(slots=True)
class _Item:
    """Audio that becomes one item. Its text is held back until it is `announced`, and dropped if it was `cleared`."""

    id: str = field(default_factory=lambda: new_id("item"))
    audio_s: float = 0.0
    text: GrowingText = field(default_factory=GrowingText)
    announced: bool = False
    speaking: bool = False
    cleared: bool = False


class Turns:
    """The items of one session: an open one that collects audio, and those that wait for the end of their text.

    An item is complete when the stream has answered the `Finalize` that bears its id, so whoever commits or clears
    must send that. `beta` chooses the events of items in the beta of the protocol.
    """

    def __init__(self, beta: bool = False) -> None:
        self._beta = beta
        self._open = _Item()
        self._waiting: deque[_Item] = deque()
        self._previous: str | None = None
        self._settings: RealtimeSettings | None = None
        # Seconds of audio before the stream of now, and at all.
        self._base_s = 0.0
        self._total_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether there is audio that belongs to no complete item, so that the stream must go on."""
        turns = self._settings.turn_detection if self._settings else None
        return self._open.speaking or (turns is None and self._open.audio_s > 0)

    def stream_begins(self, settings: RealtimeSettings) -> None:
        """A new stream with `settings` takes over; its samples are counted from 0."""
        self._settings = settings
        self._base_s = self._total_s
        if settings.turn_detection is None:
            self._open.announced = True

    def appended(self, n_samples: int) -> None:
        """So many samples of audio go into the stream."""
        seconds = n_samples / self._now.sample_rate
        self._open.audio_s += seconds
        self._total_s += seconds

    def commit(self) -> tuple[str, list[Event]]:
        """Close the open item; returns its id and what to say. Raises `BadParameter` if it has no audio."""
        item = self._open
        if item.audio_s <= 0:
            message = "expected audio to commit, the buffer is empty"
            raise BadParameter("input_audio_buffer", message, "input_audio_buffer_commit_empty")
        item.announced = True
        previous, self._previous = self._previous, item.id
        self._waiting.append(item)
        self._next()
        committed = server_event("input_audio_buffer.committed", previous_item_id=previous, item_id=item.id)
        return item.id, [committed, *self._item_events(item, previous), *_delta(item)]

    def clear(self) -> tuple[str | None, list[Event]]:
        """Forget the open item; returns its id, None if there was nothing in it, and what to say."""
        item = self._open
        said = [server_event("input_audio_buffer.cleared")]
        if item.audio_s <= 0:
            return None, said
        item.cleared = True
        self._waiting.append(item)
        self._next()
        return item.id, said

    def take(self, message: ServerMessage) -> tuple[str | None, list[Event]]:
        """Take a message of the stream; returns the id of an item that its detector has closed, and what to say."""
        match message:
            case Result():
                return None, self._heard(message)
            case SpeechEvent("speech_start", sample):
                return None, self._speech_started(sample)
            case SpeechEvent("speech_end", sample) if self._open.speaking:
                stopped = self._speech_stopped(sample)
                item_id, said = self.commit()
                return item_id, [*stopped, *said]
            case Finalized(item_id):
                return None, self.finalized(item_id)
        return None, []

    def finalized(self, item_id: str) -> list[Event]:
        """The text of the item is complete."""
        if not self._waiting or self._waiting[0].id != item_id:
            return []
        item = self._waiting.popleft()
        return [] if item.cleared else [*_delta(item), _completed(item)]

    def stream_ended(self) -> list[Event]:
        """The stream has said everything: what is still being spoken, or was heard outside of any turn, is an item."""
        said = [event for item in tuple(self._waiting) for event in self.finalized(item.id)]
        item = self._open
        if self._now.turn_detection is not None and (item.speaking or item.text.text):
            if item.speaking:
                said += self._speech_stopped(round((self._total_s - self._base_s) * self._now.sample_rate))
            item_id, events = self.commit()
            said += [*events, *self.finalized(item_id)]
        return said

    def failed(self, error: StreamerError | Exception) -> list[Event]:
        """The stream has failed: so have the items that wait for their text."""
        items = [item for item in self._waiting if not item.cleared]
        self._waiting.clear()
        return [
            server_event(f"{_TRANSCRIPTION}.failed", item_id=item.id, content_index=0, error=describe(error))
            for item in items
        ]

    @property
    def _now(self) -> RealtimeSettings:
        assert self._settings is not None  # there is no audio before there is a stream
        return self._settings

    def _next(self) -> None:
        self._open = _Item(announced=self._now.turn_detection is None)

    def _heard(self, result: Result) -> list[Event]:
        item = self._waiting[0] if self._waiting else self._open
        item.text.take(result)
        return _delta(item)

    def _speech_started(self, sample: int) -> list[Event]:
        item = self._open
        if item.speaking or self._now.turn_detection is None:
            return []
        item.announced = item.speaking = True
        start_ms = self._ms(sample) - self._now.turn_detection.prefix_padding_ms
        said = {"audio_start_ms": max(start_ms, 0), "item_id": item.id}
        return [server_event("input_audio_buffer.speech_started", **said), *_delta(item)]

    def _speech_stopped(self, sample: int) -> list[Event]:
        item, turns = self._open, self._now.turn_detection
        item.speaking = False
        # The silence that ended it is part of the turn, as far as there is any yet.
        silence_ms = turns.silence_duration_ms if turns else 0
        end_ms = min(self._ms(sample) + silence_ms, round(1000 * self._total_s))
        return [server_event("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item.id)]

    def _item_events(self, item: _Item, previous: str | None) -> list[Event]:
        plain: dict[str, Any] = {
            "id": item.id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        kinds = ("created",) if self._beta else ("added", "done")
        return [server_event(f"conversation.item.{kind}", previous_item_id=previous, item=plain) for kind in kinds]

    def _ms(self, sample: int) -> int:
        return round(1000 * (self._base_s + sample / self._now.sample_rate))


def _delta(item: _Item) -> list[Event]:
    piece = item.text.piece() if item.announced and not item.cleared else ""
    if not piece:
        return []
    return [server_event(f"{_TRANSCRIPTION}.delta", item_id=item.id, content_index=0, delta=piece)]


def _completed(item: _Item) -> Event:
    values = {"item_id": item.id, "content_index": 0, "transcript": item.text.text, "usage": usage(item.audio_s)}
    return server_event(f"{_TRANSCRIPTION}.completed", **values)
