"""Cuts transcripts into subtitles that can be read: at most two lines of 42 characters, at most six seconds.

The limits are those of common subtitling guides (BBC, Netflix): 42 characters a line, two lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from streamer.transcripts.transcript import Segment, Word

LINE_CHARS = 42
MAX_S = 6.0
# A subtitle that flashes by cannot be read; it may stay longer while nobody else speaks.
MIN_S = 1.0
# Silence within a segment that is worth an empty screen.
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def cues_of(segments: Iterable[Segment]) -> list[Cue]:
    """Return the subtitles of `segments`, in order and without overlap, but for those of several channels."""
    segments = list(segments)
    channels = {segment.channel: None for segment in segments}
    if len(channels) < 2:
        return _of_channel(segments)
    cues = [cue for channel in channels for cue in _of_channel(s for s in segments if s.channel == channel)]
    return sorted(cues, key=lambda cue: cue.start_s)


def _of_channel(segments: Iterable[Segment]) -> list[Cue]:
    return _without_flashes([_cue(group, segment.label) for segment in segments for group in _groups(_words(segment))])


def wrap(words: Sequence[str]) -> tuple[str, ...] | None:
    """Break `words` into one or two balanced lines; None if they do not fit. One word alone always fits."""
    whole = " ".join(words)
    if len(whole) <= LINE_CHARS or len(words) == 1:
        return (whole,)
    splits = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    fitting = [split for split in splits if max(map(len, split)) <= LINE_CHARS]
    return min(fitting, key=lambda split: abs(len(split[0]) - len(split[1])), default=None)


def _words(segment: Segment) -> Sequence[Word]:
    """The words of a segment; a model without word times gets them spread evenly over the segment."""
    if segment.words:
        return segment.words
    parts = segment.text.split()
    share = (segment.end_s - segment.start_s) / max(len(parts), 1)
    times = [segment.start_s + index * share for index in range(len(parts) + 1)]
    return [Word(part, *time, segment.confidence) for part, time in zip(parts, pairwise(times), strict=True)]


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and not _belongs(word, group):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _belongs(word: Word, group: list[Word]) -> bool:
    return (
        word.end_s - group[0].start_s <= MAX_S
        and word.start_s - group[-1].end_s < PAUSE_S
        and wrap([part.word for part in (*group, word)]) is not None
    )


def _cue(group: list[Word], label: str) -> Cue:
    lines = wrap([word.word for word in group])
    assert lines is not None  # a group grows only while it fits, and one word always does
    lines = (label + lines[0], *lines[1:])
    return Cue(group[0].start_s, min(group[-1].end_s, group[0].start_s + MAX_S), lines)


def _without_flashes(cues: list[Cue]) -> list[Cue]:
    """Let short cues stand for `MIN_S` unless the next one begins sooner."""
    limits = [*(cue.start_s for cue in cues[1:]), float("inf")]
    return [
        replace(cue, end_s=max(cue.start_s, min(max(cue.end_s, cue.start_s + MIN_S), limit)))
        for cue, limit in zip(cues, limits, strict=False)
    ]
