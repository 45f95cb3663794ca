"""What all host loops of streams of text have in common: a reader, and all that a text does not have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamer.errors import ModelFault
from streamer.tasks.base import Finding
from streamer.tasks.endpoint import Endpointing


class TextReader(Protocol):
    """Reads the text of one stream, see `voice_reading.VoiceReader`."""

    @property
    def waiting_chars(self) -> int:
        """Characters that came and were not taken in a piece."""

    def feed(self, text: str) -> None:
        """Take more text; raises `InvalidRequest` for characters that no text holds."""

    def finish(self) -> None:
        """What came so far is complete."""

    def drop(self) -> None:
        """Forget all that came."""


@dataclass(slots=True)
class StepOut:
    """A step that is out; what comes of it is dropped if the stream was interrupted since."""

    is_dropped: bool = field(default=False, kw_only=True)


class Speaking:
    """The part of `streamer.tasks.base.SpeakingTask` that says what is to be read, and nothing of how it is spoken.

    `_out` is the step that is out.
    """

    def __init__(self, reader: TextReader) -> None:
        self._text = reader
        self._out: StepOut | None = None
        self._is_flushing = self._is_end = False

    def _begin(self) -> None:
        """Be as in a new stream, but for the step that is out."""
        raise NotImplementedError

    @property
    def has_work(self) -> bool:
        """Whether a step can be made now."""
        raise NotImplementedError

    @property
    def is_flushed(self) -> bool:
        """Whether all audio has been returned that `flush` asked for."""
        return self._is_flushing and self._out is None and not self.has_work

    def interrupt(self) -> None:
        """Drop all text and audio, also that of the step that is out."""
        if self._out is not None:
            self._out.is_dropped = True
        self._text.drop()
        self._begin()

    @property
    def waiting_chars(self) -> int:
        """Characters that came and are not cut into pieces yet."""
        return self._text.waiting_chars

    def take_text(self, text: str) -> None:
        """Take more text."""
        self._is_flushing = False
        self._text.feed(text)

    def flush(self, is_end: bool) -> None:
        """Speak all text, and return its audio to the last sample."""
        self._is_flushing, self._is_end = True, is_end
        self._text.finish()

    def end_at(self, sample: int) -> None:
        """`flush` says where the end is."""

    def skip(self, is_padded: bool = False, interims: bool = True) -> Sequence[Finding]:
        """All text is spoken: there is no gate."""
        raise RuntimeError("a stream of text skips nothing")

    def update(self, endpointing: Endpointing) -> None:
        """Endpoint rules say nothing to a voice."""

    def state(self) -> dict[str, Any]:
        """Whoever goes on with a text begins a new stream."""
        raise RuntimeError("a stream of text is not written down")

    def restore(self, state: dict[str, Any]) -> None:
        """As `state`."""
        raise RuntimeError("a stream of text is not written down")


def require_no_fault(fault: str) -> None:
    """Raise `ModelFault` if something of this stream went wrong."""
    if fault:
        raise ModelFault(f"internal error in this stream: {fault}")
