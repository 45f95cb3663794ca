"""When an utterance has ended: no word for long enough after the last one that is final."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.session.messages import Result


class Utterances:
    """Looks for gaps of `gap` samples behind final words. Each method yields where the last word before one ended.

    A gap is known once the next word is, or once the stream has been heard so far beyond the last word; each is told
    once.
    """

    def __init__(self, gap: int) -> None:
        self._gap = gap
        # End of the last final word, until the gap behind it is told.
        self._last: int | None = None
        # Where the words begin that are heard and not final yet.
        self._next: int | None = None
        self._heard = 0

    def take(self, result: Result) -> Iterator[int]:
        """Take the next result of the stream, and how far it shows that the stream has been heard."""
        start = result.words[0].start_sample if result.words else None
        if start is not None:
            yield from self._before(start)
        if result.is_final and result.words:
            self._last = result.words[-1].end_sample
        self._next = None if result.is_final else start
        yield from self.heard(0)

    def heard(self, sample: int) -> Iterator[int]:
        """Everything before `sample` has been heard."""
        self._heard = max(self._heard, sample)
        yield from self._before(self._heard if self._next is None else min(self._heard, self._next))

    def _before(self, sample: int) -> Iterator[int]:
        if self._last is not None and sample >= self._last + self._gap:
            last, self._last = self._last, None
            yield last
