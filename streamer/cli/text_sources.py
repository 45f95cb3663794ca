"""What is to be spoken: a text on the command line, files of text, and pipes, which are read while they are written."""

from __future__ import annotations

import codecs
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import typer

from streamer.cli.inputs import STDIN, Input, find_inputs
from streamer.errors import InvalidRequest

SUFFIX = ".txt"
# Well within what a stream takes in one message, whatever the characters.
_PART = 4000
_BLOCK_BYTES = 4000
# Errors of the system for names that no file can have.
_LONGEST_NAME = 4096


@dataclass(frozen=True, slots=True)
class TextInput:
    """One text to speak: `text` itself, or where it is read from."""

    item: Input
    text: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return "text" if self.text is not None else self.item.name

    def parts(self) -> Generator[str, None, None]:
        """Yield the text as it comes; raises `InvalidRequest` for what cannot be read, or is no UTF-8."""
        if self.text is not None:
            return _parts(iter((self.text,)))
        return _parts(_decoded(self.item.path, self.name))


def find_texts(arguments: Sequence[str]) -> list[TextInput]:
    """Tell texts from files: one argument is the text itself, unless it is `-`, ends in .txt or is there as a file.

    Several are files, folders and patterns. Raises `typer.BadParameter` for texts among them, `InvalidRequest` if
    there is nothing in them.
    """
    loose = [argument for argument in arguments if not _is_place(argument)]
    if not loose:
        return [TextInput(item) for item in find_inputs(arguments, frozenset({SUFFIX}), "text")]
    if len(arguments) > 1:
        raise typer.BadParameter(f"expected files, or one text in quotation marks, got {loose[0]!r:.60}")
    return [TextInput(Input(None, PurePath("text")), loose[0])]


def _is_place(argument: str) -> bool:
    if argument == STDIN or argument.endswith(SUFFIX):
        return True
    try:
        return len(argument) < _LONGEST_NAME and "\0" not in argument and Path(argument).exists()
    except OSError:
        return False


def _parts(texts: Iterator[str]) -> Generator[str, None, None]:
    for text in texts:
        for start in range(0, len(text), _PART):
            yield text[start : start + _PART]


def _decoded(path: Path | None, name: str) -> Iterator[str]:
    """Decode UTF-8 that is cut anywhere; a byte order mark in front of it is no text."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for block in _standard_input() if path is None else _file(path):
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name}: expected text in UTF-8, got other bytes") from None


def _standard_input() -> Iterator[bytes]:
    """Yield what comes, as soon as it comes. Who types a line wants to hear it: the next one may be long in coming."""
    from streamer.cli.source import open_stdin

    pipe = open_stdin()
    is_typed = os.isatty(pipe.fileno())
    while block := pipe.read(_BLOCK_BYTES):
        yield block + b"\n" if is_typed and block.endswith(b"\n") else block


def _file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise InvalidRequest(f"cannot open {path.name}: {(error.strerror or 'unreadable').lower()}") from None
