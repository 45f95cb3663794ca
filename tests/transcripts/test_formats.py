"""Every format, to the byte."""

from __future__ import annotations

import json

import pytest

from streamer.session.messages import Alternative, Result
from streamer.session.messages import Word as WireWord
from streamer.transcripts.formats import Format, render
from streamer.transcripts.transcript import Segment, Transcript, Word, by_channel, segments_of

TALK = Transcript(
    "talk.wav",
    3725.5004,
    "toy@1.0.0",
    (
        Segment(0.25, 1.5, "R&D <is> it", 0.5, True, (
            Word("R&D", 0.25, 0.75, 0.5), Word("<is>", 0.75, 1.0, 0.25), Word("it", 1.0, 1.5, 1.0),
        )),
        Segment(3661.0004, 3662.9996, "a --> b", 0.75, False, (
            Word("a", 3661.0004, 3661.5, 0.75), Word("-->", 3661.5, 3662.0, 0.75), Word("b", 3662.0, 3662.9996, 0.75),
        )),
    ),
)  # fmt: skip
SILENCE = Transcript("silence.wav", 2.0, "toy@1.0.0", ())
PLAIN = {
    "file": "talk.wav",
    "text": "R&D <is> it a --> b",
    "duration_s": 3725.5,
    "model": "toy@1.0.0",
    "words": [
        {"word": "R&D", "start_s": 0.25, "end_s": 0.75, "confidence": 0.5},
        {"word": "<is>", "start_s": 0.75, "end_s": 1.0, "confidence": 0.25},
        {"word": "it", "start_s": 1.0, "end_s": 1.5, "confidence": 1.0},
        {"word": "a", "start_s": 3661.0, "end_s": 3661.5, "confidence": 0.75},
        {"word": "-->", "start_s": 3661.5, "end_s": 3662.0, "confidence": 0.75},
        {"word": "b", "start_s": 3662.0, "end_s": 3663.0, "confidence": 0.75},
    ],
    "segments": [
        {"start_s": 0.25, "end_s": 1.5, "text": "R&D <is> it", "confidence": 0.5, "end_of_turn": True},
        {"start_s": 3661.0, "end_s": 3663.0, "text": "a --> b", "confidence": 0.75, "end_of_turn": False},
    ],
}


def test_text_is_a_line_per_segment() -> None:
    """Text holds nothing but what was said."""
    assert render(TALK, Format.TEXT) == "R&D <is> it\na --> b\n"


def test_srt() -> None:
    """SubRip: numbered cues, comma before milliseconds, no arrow but that of the times."""
    assert render(TALK, Format.SRT) == (
        "1\n00:00:00,250 --> 00:00:01,500\nR&D <is> it\n\n2\n01:01:01,000 --> 01:01:03,000\na -> b\n"
    )


def test_vtt() -> None:
    """WebVTT: header, point before milliseconds, markup characters escaped."""
    assert render(TALK, Format.VTT) == (
        "WEBVTT\n\n00:00:00.250 --> 00:00:01.500\nR&amp;D &lt;is&gt; it\n\n01:01:01.000 --> 01:01:03.000\na --&gt; b\n"
    )


def test_tsv() -> None:
    """Tab-separated values: whole milliseconds, one segment a row."""
    assert render(TALK, Format.TSV) == "start\tend\ttext\n250\t1500\tR&D <is> it\n3661000\t3663000\ta --> b\n"


def test_tabs_in_text_do_not_make_columns() -> None:
    """White space within a text is a space."""
    tabbed = Transcript("t", 1.0, "toy@1.0.0", (Segment(0.0, 1.0, "a\tb\nc", 1.0, True),))
    assert render(tabbed, Format.TSV) == "start\tend\ttext\n0\t1000\ta b c\n"


def test_json_is_one_indented_object() -> None:
    """JSON has all of the transcript, times to the millisecond."""
    assert render(TALK, Format.JSON) == json.dumps(PLAIN, indent=2) + "\n"


def test_jsonl_is_one_line() -> None:
    """JSON lines have the same object in one line; text beyond ASCII is left readable."""
    assert render(TALK, Format.JSONL) == json.dumps(PLAIN) + "\n"
    umlaut = Transcript("u", 1.0, "toy@1.0.0", (Segment(0.0, 1.0, "über", 1.0, True),))
    assert "über" in render(umlaut, Format.JSONL)


def test_alternatives_are_part_of_json_if_there_are_any() -> None:
    """Each segment lists its best texts; without any the object is what it always was."""
    best = (Alternative("hi", 0.98765), Alternative("high", 0.25))
    segments = (Segment(0.0, 1.0, "hi", 0.98765, True, (), best), Segment(1.0, 2.0, "you", 1.0, True))
    first, second = json.loads(render(Transcript("t", 2.0, "toy@1.0.0", segments), Format.JSONL))["segments"]
    assert first["alternatives"] == [{"text": "hi", "confidence": 0.988}, {"text": "high", "confidence": 0.25}]
    assert "alternatives" not in second


@pytest.mark.parametrize(
    ("form", "expected"),
    [(Format.TEXT, ""), (Format.SRT, ""), (Format.VTT, "WEBVTT\n"), (Format.TSV, "start\tend\ttext\n")],
)
def test_silence(form: Format, expected: str) -> None:
    """A file in which nothing was said is a valid file of its format."""
    assert render(SILENCE, form) == expected


def test_suffixes() -> None:
    """Files are named after their format, text as .txt."""
    assert [form.suffix for form in Format] == [".txt", ".json", ".jsonl", ".srt", ".vtt", ".tsv"]


def test_segments_are_the_finals_in_seconds() -> None:
    """Interims are left out; samples become seconds of the wire rate."""
    word = WireWord("hi", 4000, 8000, 0.5)
    best = (Alternative("hi", 0.5), Alternative("high", 0.25))
    final = Result(0, 2, "hi", 2, True, True, 4000, 8000, 0.5, (word,), best)
    interim = Result(1, 1, "no", 0, False, False, 8000, 9000, 0.5)
    expected = Segment(0.5, 1.0, "hi", 0.5, True, (Word("hi", 0.5, 1.0, 0.5),), best)
    assert segments_of([final, interim], 8000) == (expected,)


def two_channels() -> Transcript:
    """Two people who talk at the same time, a channel each."""
    spoken = [[("yes", 0.0, 1.0), ("no", 5.0, 6.0)], [("what", 0.5, 2.0)]]
    channels = [
        tuple(Segment(start, end, text, 0.5, True, (Word(text, start, end, 0.5),)) for text, start, end in channel)
        for channel in spoken
    ]
    return by_channel([Transcript("call.wav", 7.0 + n, "toy@1.0.0", each) for n, each in enumerate(channels)])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Format.TEXT, "[1] yes\n[2] what\n[1] no\n"),
        (Format.TSV, "start\tend\ttext\n0\t1000\t[1] yes\n500\t2000\t[2] what\n5000\t6000\t[1] no\n"),
        (
            Format.SRT,
            "1\n00:00:00,000 --> 00:00:01,000\n[1] yes\n\n2\n00:00:00,500 --> 00:00:02,000\n[2] what\n\n"
            "3\n00:00:05,000 --> 00:00:06,000\n[1] no\n",
        ),
    ],
)
def test_channels_are_told_apart(form: Format, expected: str) -> None:
    """Every line says whose it is, in the order of time; subtitles of one channel do not shorten another's."""
    assert render(two_channels(), form) == expected


def test_channels_are_numbered_in_json() -> None:
    """Words and segments carry the number of their channel, from 1; the transcript is as long as the longest."""
    plain = json.loads(render(two_channels(), Format.JSON))
    assert [segment["channel"] for segment in plain["segments"]] == [1, 2, 1]
    assert [(word["word"], word["channel"]) for word in plain["words"]] == [("yes", 1), ("what", 2), ("no", 1)]
    assert (plain["duration_s"], plain["text"]) == (8.0, "yes what no")
