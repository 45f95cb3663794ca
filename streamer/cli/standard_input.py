"""Options that say what comes on standard input, which nothing in PCM tells."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from streamer.cli.inputs import STDIN, Input

if TYPE_CHECKING:
    from streamer.cli.source import RawFormat


class Encoding(StrEnum):
    """PCM of one channel."""

    S16 = "pcm_s16le"
    F32 = "pcm_f32le"
    MULAW = "pcm_mulaw"
    ALAW = "pcm_alaw"


def raw_format(inputs: Sequence[Input], encoding: Encoding | None, rate: int | None) -> RawFormat | None:
    """The format of standard input, which is required for it and refused without it."""
    reads_stdin = any(item.path is None for item in inputs)
    if not reads_stdin and (encoding is not None or rate is not None):
        raise typer.BadParameter(f"--encoding and --rate describe standard input, expected {STDIN} among the paths")
    if not reads_stdin:
        return None
    if encoding is None or rate is None:
        raise typer.BadParameter("standard input needs --encoding and --rate, the format is never guessed")
    from streamer.audio.encodings import check_format
    from streamer.cli.source import RawFormat

    check_format(encoding.value, rate, 1)
    return RawFormat(encoding.value, rate)
