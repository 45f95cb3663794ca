"""`streamer keys`: API keys for the settings."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streamer.config import KeySection

app = typer.Typer(help="Make API keys.", no_args_is_help=True)

_NAME = typer.Argument(help="What logs and limits call it: letters, digits, '.', '_' and '-'.")
_TABLE = typer.Option(help="The table that the lines begin with: access.keys in the settings, keys in a keys file.")


@app.command()
def new(
    name: Annotated[str, _NAME],
    max_streams: Annotated[int | None, typer.Option(help="Streams at a time.", show_default=False)] = None,
    max_new_streams_per_minute: Annotated[
        int | None, typer.Option(help="Streams that begin per minute.", show_default=False)
    ] = None,
    max_requests_per_minute: Annotated[
        int | None, typer.Option(help="HTTP requests per minute.", show_default=False)
    ] = None,
    audio_s_per_minute: Annotated[
        float | None, typer.Option(help="Seconds of audio per minute, over all streams.", show_default=False)
    ] = None,
    expires: Annotated[datetime | None, typer.Option(help="When it ends, in UTC.", show_default=False)] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may give commands on the admin port.")] = False,
    table: Annotated[str, _TABLE] = "access.keys",
) -> None:
    """Make a key: print it once on standard error, and the TOML that lets it in on standard output.

    The key itself is kept nowhere. `streamer keys new ada --table keys >> keys.toml` adds it to a keys file.
    """
    from streamer.gateway.keys import digest, new_key

    key = new_key()
    limits = {
        "max_streams": max_streams,
        "max_new_streams_per_minute": max_new_streams_per_minute,
        "max_requests_per_minute": max_requests_per_minute,
        "audio_s_per_minute": audio_s_per_minute,
        "expires": expires,
        "admin": admin or None,
    }
    section = _checked(name, digest(key), {limit: value for limit, value in limits.items() if value is not None})
    typer.echo(f"key of {name}, shown this once: {key}", err=True)
    typer.echo(f"[[{table}]]")
    for field in (each for each in type(section).model_fields if each in section.model_fields_set):
        typer.echo(f"{field} = {_toml(getattr(section, field))}")


def _checked(name: str, digest: str, limits: dict[str, Any]) -> KeySection:
    from pydantic import ValidationError

    from streamer.config import KeySection
    from streamer.errors import InvalidRequest

    try:
        return KeySection(name=name, hash=digest, **limits)
    except ValidationError as error:
        field, first = error.errors()[0]["loc"][0], error.errors()[0]
        wanted = "expected at most 64 of a-z, A-Z, 0-9, '.', '_' and '-'" if field == "name" else first["msg"].lower()
        raise InvalidRequest(f"{field}: {wanted}, got {first['input']!r:.120}") from None


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    return str(value) if isinstance(value, int | float) else f'"{value}"'
