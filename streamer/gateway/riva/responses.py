"""What streams say, as responses of Riva."""

from __future__ import annotations

from typing import Any

from streamer.gateway.riva import messages as riva
from streamer.session.messages import Flow, Result, ServerMessage, Word


class Responses:
    """Turns the results of one stream into Riva's.

    Times are milliseconds. `audio_processed` is at least what is said: the end of the last word told, or what the
    stream reported last, whichever is later.
    """

    def __init__(self, sample_rate: int, language: str, word_times: bool) -> None:
        self._sample_rate = sample_rate
        self._languages = [language] if language else []
        self._word_times = word_times
        self._processed = 0

    def streaming(self, message: ServerMessage) -> Any:
        """Return the `StreamingRecognitionResult` of a message, None if it has none."""
        if not self._note(message) or not isinstance(message, Result):
            return None
        if message.is_final:
            return riva.StreamingRecognitionResult(
                alternatives=self._alternatives(message),
                is_final=True,
                channel_tag=1,
                audio_processed=self._processed_s,
            )
        # Zero would mean that it is not known.
        stability = max(0.01, message.stable_chars / max(1, len(message.text)))
        return riva.StreamingRecognitionResult(
            alternatives=[riva.SpeechRecognitionAlternative(transcript=message.text, language_code=self._languages)],
            stability=stability,
            channel_tag=1,
            audio_processed=self._processed_s,
        )

    def batch(self, message: ServerMessage) -> Any:
        """Return the `SpeechRecognitionResult` of a final, None for anything else."""
        if not self._note(message) or not isinstance(message, Result) or not message.is_final:
            return None
        return riva.SpeechRecognitionResult(
            alternatives=self._alternatives(message), channel_tag=1, audio_processed=self._processed_s
        )

    @property
    def _processed_s(self) -> float:
        return self._processed / self._sample_rate

    def _note(self, message: ServerMessage) -> bool:
        if isinstance(message, Flow):
            self._processed = max(self._processed, message.processed_sample)
        elif isinstance(message, Result):
            self._processed = max(self._processed, message.end_sample)
            return True
        return False

    def _alternatives(self, final: Result) -> list[Any]:
        words = [self._word(word) for word in final.words] if self._word_times else []
        best = riva.SpeechRecognitionAlternative(
            transcript=_closed(final.text), confidence=final.confidence, words=words, language_code=self._languages
        )
        others = (
            riva.SpeechRecognitionAlternative(
                transcript=_closed(other.text), confidence=other.confidence, language_code=self._languages
            )
            for other in final.alternatives[1:]
        )
        return [best, *others]

    def _word(self, word: Word) -> Any:
        start, end = (round(1000 * sample / self._sample_rate) for sample in (word.start_sample, word.end_sample))
        return riva.WordInfo(word=word.word, start_time=start, end_time=end, confidence=word.confidence)


def _closed(text: str) -> str:
    """Return a final with a space at its end: clients put finals together without one, as Riva's end in one."""
    return text + " "
