"""What a client has heard of its stream, so that nothing is told twice when a connection was lost in between."""

from __future__ import annotations

from collections import deque

from streamer.session.messages import Finalize, Finalized, Result, ServerMessage, SpeechEvent


class Heard:
    """Lets messages of a stream pass once, whatever connection they come over.

    A server that takes up a stream hears some of its audio again, and says what it said then. Results are told apart by
    segment and revision, events by their sample, answers to `Finalize` by what was asked.
    """

    def __init__(self) -> None:
        self._segments = 0
        # Segment and revision of the last result that passed.
        self._latest = (-1, -1)
        self._event: SpeechEvent | None = None
        self._unanswered: deque[Finalized] = deque()

    @property
    def segments(self) -> int:
        """Finals that have passed."""
        return self._segments

    def ask(self, message: Finalize, sample: int) -> None:
        """Note that `message` was sent after this many samples, and once."""
        self._unanswered.append(Finalized(message.id, sample))

    def is_news(self, message: ServerMessage) -> bool:
        """Whether the caller has not seen the message; it counts as seen from now on."""
        match message:
            case Result():
                return self._is_new_result(message)
            case SpeechEvent():
                return self._is_new_event(message)
            case Finalized():
                return self._is_new_answer(message)
        return True

    def _is_new_result(self, result: Result) -> bool:
        if result.segment_id < self._segments:
            return False
        if result.is_final:
            self._segments = result.segment_id + 1
        elif (result.segment_id, result.revision) <= self._latest:
            return False
        self._latest = max(self._latest, (result.segment_id, result.revision))
        return True

    def _is_new_event(self, event: SpeechEvent) -> bool:
        last = self._event
        # A detector that starts amid speech says that it starts, which is no news.
        if last is not None and (event.sample <= last.sample or event.kind == last.kind):
            return False
        self._event = event
        return True

    def _is_new_answer(self, answer: Finalized) -> bool:
        # What is said again ends with what was never heard, so the next one that fits is the one, or just like it.
        if not self._unanswered or answer != self._unanswered[0]:
            return False
        self._unanswered.popleft()
        return True
