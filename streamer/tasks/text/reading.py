"""How a reader of one kind of text asks for tokens, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from streamer.tasks.text.spoken import GAP
from streamer.tasks.text.tokens import Token, pause_of


class More(Exception):
    """What the tokens mean depends on the one that follows, which has not come yet."""


@dataclass(frozen=True, slots=True)
class Said:
    """A word that is said for the characters from `start_char` to `end_char`."""

    text: str
    start_char: int
    end_char: int
    is_spelled: bool = False
    pause: str = GAP


@dataclass(frozen=True, slots=True)
class Reading:
    """What the next `tokens` tokens are read as, and the pause after them; None is that of the last one's marks."""

    words: tuple[Said, ...]
    tokens: int = 1
    pause: str | None = None
    is_open: bool = False
    """The words belong to what follows, as a title does to a name."""


class Cursor:
    """The tokens that are not read yet, and what stands before them in the same line."""

    def __init__(self, tokens: Sequence[Token], before: Sequence[Token] = (), is_end: bool = True) -> None:
        self._tokens, self._before, self._is_end = tokens, before, is_end

    @property
    def first(self) -> Token:
        """The token that is to be read."""
        return self._tokens[0]

    @property
    def previous(self) -> Token | None:
        """The token before, with no pause between; None at the start of a line."""
        return self._before[-1] if self._before else None

    def peek(self, index: int = 1) -> Token | None:
        """The token `index` places on, None behind the end of the line; raises `More` if it has not come."""
        if index < len(self._tokens):
            return self._tokens[index]
        if self._is_end:
            return None
        raise More

    def follow(self, index: int = 1) -> Token | None:
        """Like `peek`, but None too if there is punctuation before that token."""
        if any(token.tail or token.is_joined for token in self._tokens[:index]):
            return None
        token = self.peek(index)
        return token if token is not None and token.core else None


Reader = Callable[[Cursor], Reading | None]
"""Reads what the cursor stands before, None if that is not its kind; may raise `More`."""


def pause_after_point(cursor: Cursor, index: int = 0) -> str:
    """The pause after token `index`, whose first mark is the point of an abbreviation.

    The point ends a sentence too if nothing follows in the line, or a capital does; raises `More`.
    """
    token = cursor.peek(index)
    if token is None or not token.tail.startswith("."):
        return token.pause if token is not None else GAP
    rest = pause_of(token.tail[1:])
    if rest != GAP or token.is_joined:
        return rest
    following = cursor.peek(index + 1)
    return "." if following is None or following.is_capitalised else GAP


def said(words: Iterable[str], first: Token, last: Token | None = None, spelled: bool = False) -> tuple[Said, ...]:
    """`words` for all characters of `first`, or from there to the end of `last`."""
    end = (last or first).end
    return tuple(Said(word, first.start, end, spelled) for word in words)


def in_groups(groups: Sequence[Sequence[str]], token: Token, goes_on: bool = False) -> tuple[Said, ...]:
    """Digits of `token` in groups, with a short pause after each but the last; after that too if more `goes_on`."""
    words = []
    for number, group in enumerate(groups, start=1):
        is_paused = goes_on or number < len(groups)
        words += [Said(word, token.start, token.end) for word in group[:-1]]
        words.append(Said(group[-1], token.start, token.end, pause="," if is_paused else GAP))
    return tuple(words)
