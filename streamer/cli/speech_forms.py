"""The audio files that speech is written as."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer


class Form(StrEnum):
    """A kind of file; the value is the suffix of its name."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    OPUS = "opus"
    MP3 = "mp3"
    AAC = "aac"

    @property
    def codec(self) -> str:
        """What writers call it: in Ogg there is Vorbis, unless the suffix says Opus."""
        return "vorbis" if self is Form.OGG else self.value


def form_of(path: Path) -> Form:
    """Return what a file of that name is; raises `typer.BadParameter`."""
    try:
        return Form(path.suffix.lower().removeprefix("."))
    except ValueError:
        known = ", ".join(f".{form.value}" for form in Form)
        raise typer.BadParameter(f"--output: expected a file that ends in {known}, got {path.name}") from None
