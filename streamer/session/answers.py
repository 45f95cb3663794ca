"""What a stream says: results in the client's samples, and which of them a client that came back needs again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from streamer.session.intake import Intake
from streamer.session.messages import (
    Alternative,
    Finalized,
    Packets,
    Result,
    ServerMessage,
    SpeechEvent,
    Spoken,
    SpokenWord,
    Word,
)
from streamer.session.packet_intake import PacketIntake
from streamer.session.playout import Playout
from streamer.tasks.base import Activity, Decoded, Encoded, Finding, SpokenSpan, Transcript, Uttered, WordSpan

# Said again after a snapshot to a client that was cut off before it read them; more than that is rebuilt by replay.
_MOST_KEPT = 64

_KINDS: dict[str, type[Finalized] | type[SpeechEvent]] = {"Finalized": Finalized, "SpeechEvent": SpeechEvent}
_Kept = Result | Finalized | SpeechEvent


class Answers:
    """Messages to be sent, in order. Results of segments before `next_segment` are known to the client and not said.

    Of a stream that can be resumed the last messages that nothing supersedes are remembered, and numbered from the
    stream's begin.
    """

    def __init__(self) -> None:
        self._messages: list[ServerMessage] = []
        # Finals so far, and how many of them the client has from an earlier connection.
        self._segments = 0
        self._next_segment = 0
        self._keeps = False
        self._said = 0
        self._kept: deque[_Kept] = deque(maxlen=_MOST_KEPT)
        # What decoded audio becomes, of streams that have any.
        self.playout: Playout | None = None

    @property
    def segments(self) -> int:
        """Finals of the stream so far."""
        return self._segments

    @property
    def said(self) -> int:
        """The number of the next message that nothing supersedes."""
        return self._said

    def go_on(self, segments: int, next_segment: int, said: int) -> None:
        """Go on where so many finals and messages were said, of which the client has the first finals.

        From now on what is said is remembered.
        """
        self._keeps = True
        self._segments, self._next_segment, self._said = segments, next_segment, said

    def put(self, message: ServerMessage) -> None:
        """Append a message."""
        self._messages.append(message)
        is_result = isinstance(message, Result)
        if self._keeps and (is_result or isinstance(message, Finalized | SpeechEvent)):
            self._keep(message)  # type: ignore[arg-type]

    def put_last(self, message: ServerMessage) -> None:
        """Append a message in the place of the last one if they are of the same kind."""
        if self._messages and type(self._messages[-1]) is type(message):
            self._messages.pop()
        self._messages.append(message)

    def say(self, findings: Iterable[Finding], intake: Intake | PacketIntake) -> None:
        """Append what a task has found, but for results that the client knows."""
        for finding in findings:
            match finding:
                case Activity(kind, sample):
                    self.put(SpeechEvent(kind, intake.to_wire(sample)))
                case Encoded(data, start, end):
                    first = intake.to_wire(start)
                    self.put(Packets(data, first, intake.to_wire(end) - first))
                case Decoded() | Uttered():
                    self.speak([finding])
                case Transcript():
                    self._segments += finding.is_final
                    if finding.segment_id >= self._next_segment:
                        self.put(_result(finding, intake))

    def speak(self, findings: Iterable[Finding]) -> None:
        """Append the audio that a task has made, and the words in it."""
        for finding in findings:
            match finding:
                case Decoded():
                    self._messages += self._playing().take(finding)
                case Uttered(words):
                    self.put(Spoken(tuple(_spoken(word, self._playing()) for word in words)))

    def can_repeat(self, said: int) -> bool:
        """Whether all that came from number `said` on is still known."""
        return 0 <= self._said - said <= len(self._kept)

    def repeat(self, said: int, next_segment: int) -> None:
        """Put again what came from number `said` on, but finals before `next_segment`."""
        kept = list(self._kept)[len(self._kept) - (self._said - said) :]
        self._messages += [m for m in kept if not isinstance(m, Result) or m.segment_id >= next_segment]
        self._next_segment = next_segment

    def take(self) -> list[ServerMessage]:
        """Return what is to be sent, in order, and forget it."""
        messages, self._messages = self._messages, []
        return messages

    def state(self) -> dict[str, Any]:
        """Return everything but the messages to be sent as JSON-compatible data."""
        return {
            "segments": self._segments,
            "next_segment": self._next_segment,
            "keeps": self._keeps,
            "said": self._said,
            "kept": [{"message": type(message).__name__, **asdict(message)} for message in self._kept],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._segments, self._next_segment = state["segments"], state["next_segment"]
        self._keeps, self._said = state["keeps"], state["said"]
        self._kept.extend(_of_plain(plain) for plain in state["kept"])

    def _playing(self) -> Playout:
        if self.playout is None:
            raise RuntimeError("expected no decoded audio in this stream")
        return self.playout

    def _keep(self, message: _Kept) -> None:
        if not isinstance(message, Result) or message.is_final:
            self._said += 1
            self._kept.append(message)


def _of_plain(plain: dict[str, Any]) -> _Kept:
    fields = dict(plain)
    kind = fields.pop("message")
    if kind in _KINDS:
        return _KINDS[kind](**fields)
    words = tuple(Word(**word) for word in fields.pop("words"))
    alternatives = tuple(Alternative(**alternative) for alternative in fields.pop("alternatives"))
    return Result(**fields, words=words, alternatives=alternatives)


def _result(transcript: Transcript, intake: Intake | PacketIntake) -> Result:
    return Result(
        segment_id=transcript.segment_id,
        revision=transcript.revision,
        text=transcript.text,
        stable_chars=transcript.stable_chars,
        is_final=transcript.is_final,
        end_of_turn=transcript.end_of_turn,
        start_sample=intake.to_wire(transcript.start_sample),
        end_sample=intake.to_wire(transcript.end_sample),
        confidence=transcript.confidence,
        words=tuple(_word(span, intake) for span in transcript.words),
        alternatives=transcript.alternatives,
    )


def _spoken(span: SpokenSpan, playout: Playout) -> SpokenWord:
    start, end = playout.place(span.start_sample), playout.place(span.end_sample)
    return SpokenWord(span.word, span.start_char, span.end_char, start, end)


def _word(span: WordSpan, intake: Intake | PacketIntake) -> Word:
    return Word(span.word, intake.to_wire(span.start_sample), intake.to_wire(span.end_sample), span.confidence)
