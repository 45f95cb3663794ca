"""Transcripts in the formats of OpenAI's API."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from streamer.gateway.openai.request import TranscriptionRequest
from streamer.transcripts.formats import Format, render
from streamer.transcripts.transcript import Segment, Transcript, Word

# The logarithm of nothing is minus infinity, which JSON cannot spell.
_LEAST_CONFIDENCE = 1e-6


def answer(transcript: Transcript, request: TranscriptionRequest) -> Response:
    """Return the response with `transcript` as `request` wants it."""
    match request.response_format:
        case "text":
            return PlainTextResponse(transcript.text + "\n")
        case "srt":
            return PlainTextResponse(render(transcript, Format.SRT))
        case "vtt":
            return PlainTextResponse(render(transcript, Format.VTT), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(_verbose(transcript, request))
        case _:
            return JSONResponse({"text": transcript.text, "usage": usage(transcript.duration_s)})


def usage(duration_s: float) -> dict[str, Any]:
    """Return what a transcription cost: the length of its audio."""
    return {"type": "duration", "seconds": round(duration_s, 3)}


def server_sent(event: dict[str, Any]) -> str:
    """Return one event of a stream of server-sent events."""
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


def _verbose(transcript: Transcript, request: TranscriptionRequest) -> dict[str, Any]:
    languages = request.model.languages
    verbose: dict[str, Any] = {
        "task": "transcribe",
        "language": request.language or (languages[0] if len(languages) == 1 else "unknown"),
        "duration": round(transcript.duration_s, 3),
        "text": transcript.text,
        "usage": usage(transcript.duration_s),
    }
    if "segment" in request.granularities:
        verbose["segments"] = [_segment(index, segment) for index, segment in enumerate(transcript.segments)]
    if "word" in request.granularities:
        verbose["words"] = [_word(word) for word in transcript.words]
    return verbose


def _segment(index: int, segment: Segment) -> dict[str, Any]:
    """Return a segment with all keys that strict clients require; see docs/openai.md for those that say nothing."""
    raw = segment.text.encode()
    return {
        "id": index,
        "seek": 0,
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(segment.confidence, _LEAST_CONFIDENCE)), 4),
        "compression_ratio": round(len(raw) / len(zlib.compress(raw)), 3),
        "no_speech_prob": 0.0,
        "confidence": round(segment.confidence, 3),
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.word,
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 3),
    }
