"""What a finished stream said, in seconds: the form in which the command line shows and writes text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from streamer.session.messages import Alternative, Result
from streamer.session.messages import Word as WireWord


@dataclass(frozen=True, slots=True)
class Word:
    """A word, its place in the audio and a confidence from 0 to 1."""

    word: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """The final text between two endpoints; `alternatives` are empty unless more texts than one were asked for.

    `channel` counts from 1 where the channels of a file were transcribed one by one, and is None otherwise.
    """

    start_s: float
    end_s: float
    text: str
    confidence: float
    end_of_turn: bool
    words: tuple[Word, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    channel: int | None = None

    @property
    def label(self) -> str:
        """What precedes the text where the channel must be told: "[1] "; empty without one."""
        return "" if self.channel is None else f"[{self.channel}] "


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that was said in one file; `model` is `name@version`."""

    file: str
    duration_s: float
    model: str
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The text of all segments in one line."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)


def by_channel(channels: Sequence[Transcript]) -> Transcript:
    """Return one transcript of what the channels of a file say, told apart by number and ordered by time."""
    segments = [
        replace(segment, channel=number)
        for number, transcript in enumerate(channels, 1)
        for segment in transcript.segments
    ]
    segments.sort(key=lambda segment: (segment.start_s, segment.channel))
    longest = max(transcript.duration_s for transcript in channels)
    return replace(channels[0], duration_s=longest, segments=tuple(segments))


def segments_of(results: Iterable[Result], rate: int) -> tuple[Segment, ...]:
    """Return the finals among `results`, times in seconds of audio at `rate` samples per second."""
    return tuple(segment_of(result, rate) for result in results if result.is_final)


def segment_of(result: Result, rate: int) -> Segment:
    """Return one result, final or not, in seconds of audio at `rate` samples per second."""
    return Segment(
        start_s=result.start_sample / rate,
        end_s=result.end_sample / rate,
        text=result.text,
        confidence=result.confidence,
        end_of_turn=result.end_of_turn,
        words=tuple(_word(word, rate) for word in result.words),
        alternatives=result.alternatives,
    )


def _word(word: WireWord, rate: int) -> Word:
    return Word(word.word, word.start_sample / rate, word.end_sample / rate, word.confidence)
