"""Normalisation: tokens to spoken words, as they come; what needs the next token waits for it.

Which reader a token meets first is the order of `_READERS`; `read_compound` reads what is left. The readers' own
docstrings say what they take, and how they decide: `3/4/2024` is March the fourth, four digits from 1900 to 2099 are a
year and others only after words like "in", an `I` is a number only after words like "Chapter".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from streamer.tasks.text.abbreviations import read_abbreviation
from streamer.tasks.text.addresses import read_address
from streamer.tasks.text.clock import read_time
from streamer.tasks.text.compounds import read_compound
from streamer.tasks.text.dates import read_date, read_day_first, read_month_first
from streamer.tasks.text.figures import read_fraction, read_number, read_ordinal, read_phone, read_range
from streamer.tasks.text.quantities import read_measure, read_money
from streamer.tasks.text.reading import Cursor, More, Reader, Reading
from streamer.tasks.text.roman import read_roman
from streamer.tasks.text.scanner import LineBreak, Scanner
from streamer.tasks.text.spoken import GAP, SpokenWord
from streamer.tasks.text.tokens import Token

_READERS: tuple[Reader, ...] = (
    read_date, read_month_first, read_day_first, read_time, read_phone, read_money, read_fraction, read_ordinal,
    read_measure, read_range, read_number, read_roman, read_abbreviation, read_address, read_compound,
)  # fmt: skip
_OF_PLAIN_WORDS: tuple[Reader, ...] = (read_abbreviation, read_compound)
# Words for one token that no piece ends within. Longer ones, as of addresses, may be cut anywhere.
_MOST_GLUED = 12


@dataclass(frozen=True, slots=True)
class Pause:
    """A mark that stands alone: the pause after the last word."""

    pause: str


Event = SpokenWord | Pause | LineBreak


class Normaliser:
    """Turns tokens and line breaks into words, in order. What it says depends on the text alone."""

    def __init__(self) -> None:
        self._waiting: list[Token] = []
        # The last token that was read, if nothing but a blank stands after it.
        self._before: tuple[Token, ...] = ()

    def push(self, items: Iterable[Token | LineBreak]) -> Iterator[Event]:
        """Take what the scanner found; yields what is certain by now."""
        for item in items:
            if isinstance(item, LineBreak):
                yield from self.end_line()
                yield item
            else:
                self._waiting.append(item)
                yield from self._read(is_end=False)

    def end_line(self) -> Iterator[Event]:
        """Read what waits, as nothing follows in its line."""
        yield from self._read(is_end=True)
        self._before = ()

    def state(self) -> list[object]:
        """Everything that is remembered, as JSON-compatible data."""
        return [[token.plain() for token in tokens] for tokens in (self._waiting, self._before)]

    def restore(self, state: Sequence[Sequence[Sequence[object]]]) -> None:
        """Go on from what `state` returned."""
        waiting, before = ([Token.of_plain(token) for token in tokens] for tokens in state)
        self._waiting, self._before = waiting, tuple(before)

    def _read(self, is_end: bool) -> Iterator[Event]:
        while self._waiting:
            cursor = Cursor(self._waiting, self._before, is_end)
            try:
                reading = _read_first(cursor)
            except More:
                return
            last = self._waiting[reading.tokens - 1]
            del self._waiting[: reading.tokens]
            pause = last.pause if reading.pause is None else reading.pause
            self._before = (last,) if pause == GAP else ()
            yield from _events(reading, last, pause)


def read_aloud(text: str) -> list[SpokenWord]:
    """The words of a whole text; line breaks are full stops, and so is the end."""
    scanner, normaliser = Scanner(), Normaliser()
    words: list[SpokenWord] = []
    for events in (normaliser.push(scanner.push(text)), normaliser.push(scanner.finish()), normaliser.end_line()):
        for event in events:
            add_event(words, event)
    add_event(words, LineBreak())
    return words


def add_event(words: list[SpokenWord], event: Event) -> None:
    """Add a word to `words`, or a pause to the last of them, where the stronger of two pauses stays."""
    if isinstance(event, SpokenWord):
        words.append(event)
    elif words and words[-1].pause == GAP:
        words[-1] = words[-1].paused("." if isinstance(event, LineBreak) else event.pause)


def _read_first(cursor: Cursor) -> Reading:
    """What the first reader makes of the token that knows it; raises `More`."""
    token = cursor.first
    # Most of a text: words that nothing but themselves can be meant by.
    readers = _OF_PLAIN_WORDS if token.core.isalpha() and token.core.islower() else _READERS
    return next(found for reader in readers if (found := reader(cursor)) is not None)


def _events(reading: Reading, last: Token, pause: str) -> Iterator[Event]:
    if not reading.words:
        if pause != GAP:
            yield Pause(pause)
        return
    is_glued = len(reading.words) <= _MOST_GLUED
    for word in reading.words[:-1]:
        yield SpokenWord(word.text, word.start_char, word.end_char, word.pause, word.is_spelled, is_glued)
    word = reading.words[-1]
    is_open = reading.is_open or last.is_joined
    yield SpokenWord(word.text, word.start_char, word.end_char, pause, word.is_spelled, is_open)
