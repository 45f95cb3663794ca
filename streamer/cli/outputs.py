"""Where transcripts go: standard output in the order of the inputs, or one file each in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import typer

from streamer.cli.inputs import Input
from streamer.cli.whole_file import whole_file
from streamer.errors import StreamerError
from streamer.transcripts.formats import Format, plain, render
from streamer.transcripts.transcript import Segment, Transcript


class Output(Protocol):
    """Takes the results of a run as they come, in any order."""

    def segment(self, item: Input, segment: Segment) -> None:
        """A segment of `item` is final."""

    def done(self, item: Input, transcript: Transcript) -> None:
        """All of `item` is transcribed."""

    def skip(self, item: Input) -> None:
        """Nothing more comes of `item`."""

    def close(self) -> None:
        """Nothing more comes at all."""


class FolderOutput:
    """Writes each transcript to its file, in one piece."""

    def __init__(self, paths: Mapping[Input, Path], form: Format) -> None:
        self._paths = paths
        self._form = form

    def segment(self, item: Input, segment: Segment) -> None:
        """Files are written whole."""

    def done(self, item: Input, transcript: Transcript) -> None:
        """Write the file; raises `StreamerError`."""
        path = self._paths[item]
        try:
            with whole_file(path) as file:
                file.write(render(transcript, self._form).encode())
        except OSError as error:
            raise StreamerError(f"cannot write {path}: {(error.strerror or 'failed').lower()}") from None

    def skip(self, item: Input) -> None:
        """No file."""

    def close(self) -> None:
        """Everything is written already."""


class LiveTextOutput:
    """The text of a single input, a line as soon as a segment is final: useful behind a live pipe."""

    def segment(self, item: Input, segment: Segment) -> None:
        """Print the segment."""
        typer.echo(segment.text)

    def done(self, item: Input, transcript: Transcript) -> None:
        """Everything is printed already."""

    def skip(self, item: Input) -> None:
        """What is printed stays."""

    def close(self) -> None:
        """Everything is printed already."""


class StandardOutput:
    """Prints transcripts in the order of the inputs, each as soon as those before it are printed.

    Several texts get a heading each; several JSON results make one array.
    """

    def __init__(self, inputs: Sequence[Input], form: Format) -> None:
        self._waiting = list(inputs)
        self._several = len(inputs) > 1
        self._form = form
        self._ready: dict[Input, Transcript | None] = {}
        self._array: list[Transcript] = []

    def segment(self, item: Input, segment: Segment) -> None:
        """Transcripts are printed whole."""

    def done(self, item: Input, transcript: Transcript) -> None:
        """Print what is next in order."""
        self._ready[item] = transcript
        self._flush()

    def skip(self, item: Input) -> None:
        """The ones after it need not wait."""
        self._ready[item] = None
        self._flush()

    def close(self) -> None:
        """Print the array of several JSON results."""
        if self._several and self._form is Format.JSON:
            typer.echo(json.dumps([plain(each) for each in self._array], ensure_ascii=False, indent=2))

    def _flush(self) -> None:
        while self._waiting and self._waiting[0] in self._ready:
            transcript = self._ready.pop(self._waiting.pop(0))
            if transcript is not None:
                self._print(transcript)

    def _print(self, transcript: Transcript) -> None:
        if self._several and self._form is Format.JSON:
            self._array.append(transcript)
            return
        if self._several and self._form is Format.TEXT:
            typer.echo(f"==> {transcript.file} <==")
        typer.echo(render(transcript, self._form), nl=False)
