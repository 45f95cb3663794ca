"""Subtitles are short enough to read, in order, and never overlap."""

from __future__ import annotations

import itertools

from streamer.transcripts.cues import LINE_CHARS, Cue, cues_of, wrap
from streamer.transcripts.transcript import Segment, Word


def words(text: str, start_s: float = 0.0, each_s: float = 0.5) -> tuple[Word, ...]:
    return tuple(
        Word(word, start_s + index * each_s, start_s + (index + 1) * each_s, 0.9)
        for index, word in enumerate(text.split())
    )


def segment(*parts: Word) -> Segment:
    return Segment(parts[0].start_s, parts[-1].end_s, " ".join(part.word for part in parts), 0.9, True, parts)


def test_short_segment_is_one_line() -> None:
    """A segment that fits in a line is one cue of one line with the times of its words."""
    assert cues_of([segment(*words("the ferry leaves at seven"))]) == [Cue(0.0, 2.5, ("the ferry leaves at seven",))]


def test_lines_are_balanced() -> None:
    """Two lines are about equally long, none longer than the limit."""
    text = "we walked along the river until it was dark outside"
    assert wrap(text.split()) == ("we walked along the river", "until it was dark outside")


def test_what_does_not_fit_has_no_lines() -> None:
    """Words that need a third line do not fit."""
    assert wrap(["abcdefghij"] * 8) is None


def test_single_word_always_fits() -> None:
    """A word longer than a line is not cut."""
    long = "a" * (LINE_CHARS + 10)
    assert wrap([long]) == (long,)
    assert cues_of([segment(Word(long, 0.0, 2.0, 0.9), Word("b", 2.0, 3.0, 0.9))]) == [
        Cue(0.0, 2.0, (long,)),
        Cue(2.0, 3.0, ("b",)),
    ]


def test_cues_last_at_most_six_seconds() -> None:
    """A slow speaker's segment is cut in time: six words of 1.25 s do not fit in six seconds."""
    cues = cues_of([segment(*words("one two three four five six", each_s=1.25))])
    assert cues == [Cue(0.0, 5.0, ("one two three four",)), Cue(5.0, 7.5, ("five six",))]


def test_word_longer_than_a_cue_is_clipped() -> None:
    """One very long word stays for six seconds only."""
    assert cues_of([segment(Word("aaah", 1.0, 11.0, 0.9))]) == [Cue(1.0, 7.0, ("aaah",))]


def test_pause_begins_a_new_cue() -> None:
    """Silence of a second within a segment leaves the screen empty."""
    cues = cues_of([segment(*words("hello there"), *words("again", start_s=3.0, each_s=1.5))])
    assert cues == [Cue(0.0, 1.0, ("hello there",)), Cue(3.0, 4.5, ("again",))]


def test_short_cue_stays_until_the_next() -> None:
    """A cue stands for a second, but not into the next one."""
    segments = [segment(Word("yes", 0.0, 0.2, 0.9)), segment(Word("no", 0.6, 0.8, 0.9))]
    assert cues_of(segments) == [Cue(0.0, 0.6, ("yes",)), Cue(0.6, 1.6, ("no",))]


def test_no_words_times_are_spread() -> None:
    """Without word times the text is spread evenly over its segment."""
    cues = cues_of([Segment(10.0, 18.0, "one two three four", 0.5, True)])
    assert cues == [Cue(10.0, 16.0, ("one two three",)), Cue(16.0, 18.0, ("four",))]


def test_every_word_appears_once_in_order() -> None:
    """Cutting loses and repeats nothing, whatever the lengths."""
    text = " ".join("x" * (1 + 7 * index % 23) for index in range(200))
    cues = cues_of([segment(*words(text, each_s=0.3))])
    assert " ".join(line for cue in cues for line in cue.lines) == text
    assert all(len(cue.lines) <= 2 and max(map(len, cue.lines)) <= LINE_CHARS for cue in cues)
    assert all(one.end_s <= other.start_s for one, other in itertools.pairwise(cues))


def test_nothing_said_has_no_cues() -> None:
    """No segments, no subtitles."""
    assert cues_of([]) == []
