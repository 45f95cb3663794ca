"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streamer.config import Settings


class Provider(StrEnum):
    """What runs the models."""

    CPU = "cpu"
    CUDA = "cuda"


class LogLevel(StrEnum):
    """From which level on events are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings in TOML.", show_default=False)]
BundlePath = Annotated[
    list[Path] | None,
    typer.Option("--bundle-path", help="Folder of bundles, before the ones that ship. Repeatable.", show_default=False),
]
Workers = Annotated[int | None, typer.Option(help="Worker threads; default one per CPU core.", show_default=False)]
Runtime = Annotated[Provider | None, typer.Option("--provider", help="What runs the models.", show_default=False)]


def settings_from(config: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Merge file, environment and flags; raises `InvalidRequest`."""
    from streamer.config import load_settings

    return load_settings(config, None, flags)


def given(values: Sequence[Any] | None) -> list[str] | None:
    """Return the values of a repeatable option as text, None if it was not given."""
    return [str(value) for value in values] if values else None
