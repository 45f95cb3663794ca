"""What a client is told while its stream goes on."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.gateway.deepgram.described import Event, RequestInfo, alternative
from streamer.gateway.deepgram.request import LiveRequest
from streamer.gateway.deepgram.utterances import Utterances
from streamer.session.messages import (
    Config,
    Done,
    Finalized,
    Flow,
    Ready,
    Result,
    ServerMessage,
    SpeechEvent,
)
from streamer.transcripts.transcript import Segment, segment_of

# One channel of one.
_CHANNEL = [0, 1]


class Replies:
    """Events for the messages of one stream. `end` is the last one."""

    def __init__(self, request: LiveRequest, info: RequestInfo) -> None:
        self._request = request
        self._info = info
        self._rate = 1
        self._silence = self._delay = 0
        self._utterances: Utterances | None = None
        # A final is kept back while it may be the last one before the answer to `Finalize`, which says so.
        self._unanswered = 0
        self._kept: Result | None = None
        self._samples = 0

    def begin(self, config: Config) -> None:
        """The stream begins."""
        self._rate = config.sample_rate
        if self._request.utterance_end_s is not None:
            self._utterances = Utterances(round(self._request.utterance_end_s * self._rate))
        if config.endpointing.enabled:
            self._silence = round(config.endpointing.silence_after_speech_s * self._rate)

    def asked(self) -> None:
        """The client sends `Finalize`, and is promised an answer."""
        self._unanswered += 1

    def take(self, message: ServerMessage) -> Iterator[Event]:
        """Yield the events that a message of the stream makes."""
        match message:
            case Result():
                yield from self.flush()
                if message.is_final and self._unanswered:
                    self._kept = message
                else:
                    yield from self._result(message)
            case Finalized():
                self._unanswered -= 1
                yield from self._finalized(message.sample)
            case SpeechEvent("speech_start", sample) if self._request.vad_events:
                yield {"type": "SpeechStarted", "channel": _CHANNEL, "timestamp": self._seconds(sample)}
            case SpeechEvent("speech_end", sample) if self._utterances is not None:
                yield from map(self._utterance_end, self._utterances.quiet(sample))
            case Ready():
                self._delay = round(message.delay_ms * self._rate / 1000)
            case Flow():
                yield from self._heard(message.processed_sample - self._delay)
            case Done():
                self._samples = message.audio_samples
                yield from self.flush()
                yield from self._heard(self._samples)

    def flush(self) -> Iterator[Event]:
        """Yield what is kept back, because nothing is to follow that it could wait for."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            yield from self._result(kept)

    def end(self, sha256: str) -> Event:
        """Return the last event; `sha256` is of all audio that came."""
        metadata = self._info.metadata(sha256, self._samples / self._rate, self._request.channels)
        return {"type": "Metadata", **metadata}

    def nothing(self) -> Event:
        """Return the answer to `Finalize` before any audio."""
        return self._results(Segment(0.0, 0.0, "", 0.0, end_of_turn=False), is_final=True, from_finalize=True)

    def _finalized(self, sample: int) -> Iterator[Event]:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            yield from self._result(kept, from_finalize=True)
        else:
            place = self._seconds(sample)
            yield self._results(Segment(place, place, "", 0.0, end_of_turn=False), True, from_finalize=True)

    def _result(self, result: Result, from_finalize: bool = False) -> Iterator[Event]:
        yield self._results(segment_of(result, self._rate), result.is_final, from_finalize)
        if self._utterances is not None:
            yield from map(self._utterance_end, self._utterances.take(result))
            if result.end_of_turn:
                yield from self._heard(result.end_sample + self._silence)

    def _results(self, segment: Segment, is_final: bool, from_finalize: bool) -> Event:
        best = alternative(segment.text, segment.confidence, segment.words)
        others = [alternative(other.text, other.confidence, ()) for other in segment.alternatives[1:]]
        return {
            "type": "Results",
            "channel_index": _CHANNEL,
            "start": round(segment.start_s, 6),
            "duration": round(segment.end_s - segment.start_s, 6),
            "is_final": is_final,
            "speech_final": segment.end_of_turn,
            "from_finalize": from_finalize,
            "channel": {"alternatives": [best, *others]},
            "metadata": {
                "request_id": self._info.id,
                "model_info": self._info.model_info,
                "model_uuid": self._info.model_uuid,
            },
        }

    def _heard(self, sample: int) -> Iterator[Event]:
        if self._utterances is not None:
            yield from map(self._utterance_end, self._utterances.heard(sample))

    def _utterance_end(self, sample: int) -> Event:
        return {"type": "UtteranceEnd", "channel": _CHANNEL, "last_word_end": self._seconds(sample)}

    def _seconds(self, sample: int) -> float:
        return round(sample / self._rate, 6)
