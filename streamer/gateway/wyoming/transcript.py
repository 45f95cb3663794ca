"""What a stream says, as events of the Wyoming protocol."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.gateway.wyoming.events import Event
from streamer.session.messages import Done, Ready, Result, ServerMessage


class TranscriptWriter:
    """Turns the messages of one stream into events.

    Chunks are text that stays: what of a segment no later revision changes, and the rest with its final. Put together
    they are the transcript, which is the text of all finals in one line.
    """

    def __init__(self, language: str) -> None:
        self._language = {"language": language} if language else {}
        self._finals: list[str] = []
        # Characters of the current segment that were sent.
        self._sent = 0

    def events(self, message: ServerMessage) -> Iterator[Event]:
        """Yield what the client is told of `message`."""
        match message:
            case Ready():
                yield Event("transcript-start", self._language)
            case Result():
                chunk = self._grown(message)
                if chunk:
                    yield Event("transcript-chunk", {"text": chunk})
            case Done():
                yield Event("transcript", {"text": " ".join(self._finals), **self._language})
                yield Event("transcript-stop")
            case _:
                pass

    def _grown(self, result: Result) -> str:
        stable = len(result.text) if result.is_final else result.stable_chars
        grown = result.text[self._sent : stable]
        if grown and not self._sent and self._finals:
            grown = " " + grown
        self._sent = max(self._sent, stable)
        if result.is_final:
            self._finals.append(result.text)
            self._sent = 0
        return grown
