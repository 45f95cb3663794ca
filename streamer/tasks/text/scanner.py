"""Cuts text that arrives in any portions into tokens and line breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from streamer.tasks.text.tokens import Token, tokenise

# Longer runs without a blank are cut, so that no token waits for ever.
LONGEST_TOKEN = 256
_RUN = re.compile(rf"\s+|\S{{1,{LONGEST_TOKEN}}}")
_LINE_FEEDS = "\n\x0b\x0c\x85\u2028\u2029"


@dataclass(frozen=True, slots=True)
class LineBreak:
    """A line ends here, and with it whatever was said in it."""


class Scanner:
    """Finds tokens when the blank after them has come, and line breaks.

    A line feed is a line break unless a small letter follows it, as in text that is wrapped; two are one always. So
    it is told with the first character of the next line, or with the second line feed.
    """

    def __init__(self) -> None:
        self._tail = ""
        # Where the tail begins in the stream's text.
        self._start = 0
        self._feeds = 0
        self._is_broken = False

    @property
    def received_chars(self) -> int:
        """How many code points came so far."""
        return self._start + len(self._tail)

    def push(self, text: str) -> Iterator[Token | LineBreak]:
        """Take the next characters; yields what is complete."""
        buffer, origin = self._tail + text, self._start
        self._tail, self._start = "", origin + len(buffer)
        for found in _RUN.finditer(buffer):
            run = found[0]
            if run[0].isspace():
                yield from self._blank(run)
                continue
            yield from self._begin(run[0])
            if found.end() == len(buffer) and len(run) < LONGEST_TOKEN:
                self._tail, self._start = run, origin + found.start()
            else:
                yield from tokenise(run, origin + found.start())

    def finish(self) -> Iterator[Token | LineBreak]:
        """Yield the token that was not complete, as if a blank had come."""
        tail, start = self._tail, self._start
        self._tail, self._start = "", start + len(tail)
        self._feeds, self._is_broken = 0, False
        yield from tokenise(tail, start)

    def state(self) -> list[object]:
        """Everything that is remembered, as JSON-compatible data."""
        return [self._tail, self._start, self._feeds, self._is_broken]

    def restore(self, state: list[object]) -> None:
        """Go on from what `state` returned."""
        tail, start, feeds, is_broken = state
        self._tail, self._start, self._feeds, self._is_broken = (
            str(tail),
            int(str(start)),
            int(str(feeds)),
            bool(is_broken),
        )

    def _blank(self, run: str) -> Iterator[LineBreak]:
        self._feeds += sum(run.count(feed) for feed in _LINE_FEEDS)
        if self._feeds > 1 and not self._is_broken:
            self._is_broken = True
            yield LineBreak()

    def _begin(self, first: str) -> Iterator[LineBreak]:
        """Decide on the line feed before a token whose first character is `first`."""
        if self._feeds == 1 and not first.islower():
            yield LineBreak()
        self._feeds, self._is_broken = 0, False
