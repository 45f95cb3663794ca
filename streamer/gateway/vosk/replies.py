"""What vosk clients are answered."""

from __future__ import annotations

import json
from typing import Any

from streamer.session.messages import Result, ServerMessage, Word


class Replies:
    """Collects what a stream says until a reply is due.

    Every reply holds one result. Finals that came since the last one are told as one, so that none is lost however
    long a frame was; a partial is the text of the segment that is open.
    """

    def __init__(self, sample_rate: int, words: bool, max_alternatives: int) -> None:
        self._sample_rate = sample_rate
        self._words = words
        self._max_alternatives = max_alternatives
        self._finals: list[Result] = []
        self._partial = ""

    def take(self, message: ServerMessage) -> None:
        """Note what the stream has said."""
        if not isinstance(message, Result):
            return
        if message.is_final:
            self._finals.append(message)
        self._partial = "" if message.is_final else message.text

    def after_frame(self) -> str:
        """Return the reply to a frame of audio: the finals that are due, or else what is heard so far."""
        return self.result() if self._finals else json.dumps({"partial": self._partial})

    def result(self) -> str:
        """Return the finals that are due as one result; its text is empty if there are none."""
        finals, self._finals = self._finals, []
        if self._max_alternatives:
            return json.dumps({"alternatives": self._alternatives(finals)})
        return json.dumps(self._told(finals))

    def _told(self, finals: list[Result]) -> dict[str, Any]:
        told: dict[str, Any] = {"text": " ".join(final.text for final in finals)}
        words = [self._word(word) for final in finals for word in final.words]
        return {"result": words, **told} if self._words and words else told

    def _alternatives(self, finals: list[Result]) -> list[dict[str, Any]]:
        """The best text, then, of a single segment, the texts that it may have had."""
        confidence = min((final.confidence for final in finals), default=1.0)
        best = {"confidence": confidence, **self._told(finals)}
        others = finals[0].alternatives[1 : self._max_alternatives] if len(finals) == 1 else ()
        return [best, *({"confidence": other.confidence, "text": other.text} for other in others)]

    def _word(self, word: Word) -> dict[str, Any]:
        start, end = (round(sample / self._sample_rate, 3) for sample in (word.start_sample, word.end_sample))
        return {"conf": word.confidence, "end": end, "start": start, "word": word.word}
