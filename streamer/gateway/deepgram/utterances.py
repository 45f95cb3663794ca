"""When an utterance has ended: no word for long enough after the last one that is final."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.session.messages import Result


class Utterances:
    """Looks for gaps of `gap` samples behind final words. Each method yields where the last word before one ended.

    A gap is known once the next word is, once the stream has been heard so far beyond the last word, or once the
    detector of speech knows of it; each is told once.
    """

    def __init__(self, gap: int) -> None:
        self._gap = gap
        # Where the last final word begins, and where it ends, until the gap behind it is told.
        self._last_start = 0
        self._last: int | None = None
        # Where the words begin that are heard and not final yet.
        self._next: int | None = None
        self._heard = 0
        self._quiet_from = -1

    def take(self, result: Result) -> Iterator[int]:
        """Take the next result of the stream, and how far it shows that the stream has been heard."""
        start = result.words[0].start_sample if result.words else None
        if start is not None:
            yield from self._before(start)
        if result.is_final and result.words:
            self._last_start, self._last = result.words[-1].start_sample, result.words[-1].end_sample
        self._next = None if result.is_final else start
        yield from self.heard(0)
        yield from self.quiet(-1)

    def heard(self, sample: int) -> Iterator[int]:
        """Everything before `sample` has been heard."""
        self._heard = max(self._heard, sample)
        yield from self._before(self._heard if self._next is None else min(self._heard, self._next))

    def quiet(self, sample: int) -> Iterator[int]:
        """Speech has ended at `sample`, and for the gap nothing was said.

        What a recogniser calls the end of a word may come a little later than the end of its sound.
        """
        self._quiet_from = max(self._quiet_from, sample)
        if self._next is None and self._quiet_from >= self._last_start and self._last is not None:
            last, self._last = self._last, None
            yield last

    def _before(self, sample: int) -> Iterator[int]:
        if self._last is not None and sample >= self._last + self._gap:
            last, self._last = self._last, None
            yield last
