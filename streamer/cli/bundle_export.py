"""`streamer bundle export`: a bundle in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.options import BundlePath, ConfigFile, given, settings_from
from streamer.errors import InvalidRequest

app = typer.Typer(help="Write a bundle in the format of another program.", no_args_is_help=True)

_NO_ONNX = "onnx is not installed, expected the extra convert: pip install 'streamer-speech[convert]'"


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

    try:
        from streamer.bundle.sherpa.export import export_sherpa
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise InvalidRequest(_NO_ONNX) from None
    if Path(name).is_dir():
        bundle = load_bundle(Path(name))
    else:
        bundle = Registry(settings_from(config, {"bundle_path": given(bundle_path)}).bundle_path).resolve(name)
    for file in export_sherpa(bundle, out):
        typer.echo(file)
