"""Writes transcripts as text, JSON, SubRip (SRT), WebVTT and tab-separated values."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from streamer.transcripts.cues import Cue, cues_of
from streamer.transcripts.transcript import Segment, Transcript, Word


class Format(StrEnum):
    """How a transcript is written; the value is also the suffix of its file, but for text."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"

    @property
    def suffix(self) -> str:
        """Suffix of files of this format, with the dot."""
        return ".txt" if self is Format.TEXT else f".{self.value}"


def render(transcript: Transcript, form: Format) -> str:
    """Return the whole file of one transcript; never empty lines where the format gives them a meaning."""
    return _RENDERERS[form](transcript)


def plain(transcript: Transcript) -> dict[str, Any]:
    """Return the transcript as JSON values; times in seconds to the millisecond."""
    return {
        "file": transcript.file,
        "text": transcript.text,
        "duration_s": round(transcript.duration_s, 3),
        "model": transcript.model,
        "words": [_plain_word(word, segment) for segment in transcript.segments for word in segment.words],
        "segments": [_plain_segment(segment) for segment in transcript.segments],
    }


def _plain_word(word: Word, segment: Segment) -> dict[str, Any]:
    channel = {} if segment.channel is None else {"channel": segment.channel}
    return _rounded(asdict(word)) | channel


def _plain_segment(segment: Segment) -> dict[str, Any]:
    values = asdict(segment)
    # All words are listed beside the segments already.
    del values["words"]
    if segment.channel is None:
        del values["channel"]
    alternatives = values.pop("alternatives")
    if alternatives:
        values["alternatives"] = [_rounded(alternative) for alternative in alternatives]
    return _rounded(values)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}


def _text(transcript: Transcript) -> str:
    return "".join(f"{segment.label}{segment.text}\n" for segment in transcript.segments)


def _json(transcript: Transcript) -> str:
    return json.dumps(plain(transcript), ensure_ascii=False, indent=2) + "\n"


def _jsonl(transcript: Transcript) -> str:
    return json.dumps(plain(transcript), ensure_ascii=False) + "\n"


def _srt(transcript: Transcript) -> str:
    cues = enumerate(cues_of(transcript.segments), 1)
    return "\n".join(f"{number}\n{_timing(cue, ',')}\n{_srt_text(cue)}\n" for number, cue in cues)


def _srt_text(cue: Cue) -> str:
    # SubRip has no escapes. An arrow in the text would be read as a line of times.
    return "\n".join(cue.lines).replace("-->", "->")


def _vtt(transcript: Transcript) -> str:
    cues = (f"\n{_timing(cue, '.')}\n{_vtt_text(cue)}\n" for cue in cues_of(transcript.segments))
    return "WEBVTT\n" + "".join(cues)


def _vtt_text(cue: Cue) -> str:
    # WebVTT cue text: & and < must be escaped; with > escaped too there can be no arrow.
    return html.escape("\n".join(cue.lines), quote=False)


def _tsv(transcript: Transcript) -> str:
    rows = (
        f"{_ms(segment.start_s)}\t{_ms(segment.end_s)}\t{segment.label}{' '.join(segment.text.split())}\n"
        for segment in transcript.segments
    )
    return "start\tend\ttext\n" + "".join(rows)


def _timing(cue: Cue, point: str) -> str:
    return f"{_clock(cue.start_s, point)} --> {_clock(cue.end_s, point)}"


def _clock(seconds: float, point: str) -> str:
    # Rounded to whole milliseconds first, so that 59.9996 s becomes a minute and not "59.1000".
    minutes, ms = divmod(_ms(seconds), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{point}{ms % 1000:03}"


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


_RENDERERS: Mapping[Format, Callable[[Transcript], str]] = {
    Format.TEXT: _text,
    Format.JSON: _json,
    Format.JSONL: _jsonl,
    Format.SRT: _srt,
    Format.VTT: _vtt,
    Format.TSV: _tsv,
}
