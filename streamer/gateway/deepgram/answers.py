"""The answer to a file."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from streamer.gateway.deepgram.described import Event, RequestInfo, alternative
from streamer.gateway.deepgram.request import FileRequest
from streamer.transcripts.transcript import Segment, Transcript


def answer(channels: Sequence[Transcript], request: FileRequest, info: RequestInfo, sha256: str) -> Event:
    """Return what was said, channel by channel, in the file of this digest."""
    results: Event = {"channels": [_channel(transcript) for transcript in channels]}
    if request.utterances:
        results["utterances"] = _utterances(channels)
    duration_s = max(transcript.duration_s for transcript in channels)
    return {"metadata": info.metadata(sha256, duration_s, len(channels)), "results": results}


def _channel(transcript: Transcript) -> Event:
    words = transcript.words
    confidence = sum(word.confidence for word in words) / len(words) if words else 0.0
    return {"alternatives": [alternative(transcript.text, confidence, words)]}


def _utterances(channels: Sequence[Transcript]) -> list[Event]:
    told = [_utterance(segment, index) for index, each in enumerate(channels) for segment in each.segments]
    return sorted(told, key=lambda utterance: (utterance["start"], utterance["channel"]))


def _utterance(segment: Segment, channel: int) -> Event:
    return {
        "start": round(segment.start_s, 6),
        "end": round(segment.end_s, 6),
        "channel": channel,
        "id": str(uuid.uuid4()),
        **alternative(segment.text, segment.confidence, segment.words),
    }
