"""`streamer config`: look at settings without starting a server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import settings_from

if TYPE_CHECKING:
    from streamer.config import Settings

app = typer.Typer(help="Check and show settings.", no_args_is_help=True)

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

File = Annotated[Path | None, typer.Argument(help="Settings in TOML; without it, defaults and the environment.")]


@app.command()
def check(file: File = None) -> None:
    """Check settings as `streamer serve` would, without starting it: keys, values, models, certificates.

    Everything is read that the server would read at its start, but no graph is warmed up and no port is bound.
    """
    settings = settings_from(file, {})
    for line in _findings(settings):
        typer.echo(line)
    typer.echo("settings are valid")


@app.command()
def show(file: File = None) -> None:
    """Print all settings as TOML: what the file says, what the environment says, defaults. Secrets are left out."""
    settings = settings_from(file, {})
    for line in _lines(settings.model_dump(mode="python")):
        typer.echo(line)


def _findings(settings: Settings) -> Iterator[str]:
    """Say what was checked, one line each; raises `StreamerError` for what a server would refuse."""
    from streamer.host.assemble import load_bundles, programs_of
    from streamer.tasks.registry import task_maker

    bundles = load_bundles(settings)
    for bundle in bundles:
        task_maker(bundle.manifest, bundle.folder)
        yield f"model {bundle.key}: {bundle.manifest.task.kind}, from {bundle.folder}"
    programs_of(bundles)
    yield from _access_findings(settings)


def _access_findings(settings: Settings) -> Iterator[str]:
    from streamer.gateway.access import Access
    from streamer.gateway.admin import check_exposure
    from streamer.gateway.tls import Certificates

    access = Access(settings.access)
    check_exposure(settings, access)
    yield "access: everybody, no keys are set" if access.is_open else f"access: keys of {', '.join(access.key_names)}"
    if settings.tls is not None:
        Certificates(settings.tls)
        yield f"tls: {settings.tls.cert}{'' if settings.tls.client_ca is None else ', clients need certificates'}"


def _lines(values: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Return dotted keys, which are TOML in any order; what is unset is a comment."""
    for key, value in values.items():
        # Names of models are keys too, and may hold what bare keys of TOML do not.
        name = where + (key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False))
        if isinstance(value, Mapping) and value:
            yield from _lines(value, f"{name}.")
        elif value is None:
            yield f"# {name} is unset"
        else:
            yield f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "{}"
            if not value
            else "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None) + " }"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, datetime):
        return value.isoformat()
    # JSON's numbers, booleans and strings are TOML's, if what is beyond ASCII is not escaped as surrogates.
    if isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(str(value), ensure_ascii=False)
