"""`streamer bundle export`: a bundle in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.extras import convert_extra
from streamer.cli.options import BundlePath, ConfigFile, given, settings_from

app = typer.Typer(help="Write a bundle in the format of another program.", no_args_is_help=True)


@app.command()
def sherpa(
    name: Annotated[str, typer.Argument(help="NAME, NAME@VERSION or the folder of a bundle.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the files.")],
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
) -> None:
    """Write a streaming transducer as the encoder, decoder, joiner and tokens that sherpa-onnx runs."""
    from streamer.bundle.loader import load_bundle
    from streamer.bundle.registry import Registry

    with convert_extra():
        from streamer.bundle.sherpa.export import export_sherpa
    if Path(name).is_dir():
        bundle = load_bundle(Path(name))
    else:
        bundle = Registry(settings_from(config, {"bundle_path": given(bundle_path)}).bundle_path).resolve(name)
    for file in export_sherpa(bundle, out):
        typer.echo(file)
