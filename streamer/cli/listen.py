"""`streamer listen`: a microphone, a file or a pipe to text on the terminal, through a running server."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.client import Client, Result

STDIN = "-"
_BLOCK_BYTES = 1 << 16


def listen(
    source: Annotated[
        str | None, typer.Argument(help="A file, or - for PCM on standard input; default a microphone.")
    ] = None,
    server: Annotated[str, typer.Option(help="ws://, wss://, grpc:// or grpcs:// address.")] = "ws://localhost:8080",
    model: Annotated[str, typer.Option(help="NAME or NAME@VERSION; default the server's.")] = "",
    language: Annotated[str, typer.Option(help="Language of the speech.")] = "",
    device: Annotated[str | None, typer.Option(help="Microphone, by name or number.", show_default=False)] = None,
    seconds: Annotated[float | None, typer.Option(help="Record so long.", min=0.1, show_default=False)] = None,
    encoding: Annotated[str | None, typer.Option(help="Of standard input; mono.", show_default=False)] = None,
    rate: Annotated[int | None, typer.Option(help="Of standard input, in Hz.", show_default=False)] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File that holds the API key.", exists=True, dir_okay=False, show_default=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Authorities to trust, PEM.", exists=True, dir_okay=False, show_default=False)
    ] = None,
) -> None:
    """Show text while it is spoken, heard by a server that runs elsewhere; finals go to standard output."""
    from streamer.client import Client, Config, Tls

    key = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else None
    with Client(server, key, tls=Tls(ca_file=ca_file)) as client:
        if source is None:
            named = int(device) if device is not None and device.isdecimal() else device
            results = client.microphone(device=named, duration_s=seconds, model=model, language=language)
            _show(results)
        elif source == STDIN:
            if encoding is None or rate is None:
                raise InvalidRequest("standard input needs --encoding and --rate, nothing in it tells them")
            config = Config(encoding, rate, 1, mode="file", model=model, language=language)
            _show(client.stream(_standard_input(), config))
        else:
            _transcribe(client, source, model, language)


def _transcribe(client: Client, path: str, model: str, language: str) -> None:
    for segment in client.transcribe(path, model=model, language=language).segments:
        typer.echo(segment.text)


def _standard_input() -> Iterator[bytes]:
    # As it comes, not when a block is full: text shall follow a live pipe closely.
    while block := os.read(sys.stdin.fileno(), _BLOCK_BYTES):
        yield block


def _show(results: Iterable[Result]) -> None:
    """Print finals; on a terminal also the text so far, in one line that is written over."""
    is_terminal = sys.stderr.isatty()
    for result in results:
        if is_terminal:
            width = shutil.get_terminal_size().columns - 1
            typer.echo("\r\033[K" + ("" if result.is_final else result.text[-width:]), nl=False, err=True)
        if result.is_final and result.text:
            typer.echo(result.text)
