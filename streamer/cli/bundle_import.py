"""`streamer bundle import`: a model in the format of another program becomes a bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.extras import convert_extra
from streamer.errors import BundleError, InvalidRequest

if TYPE_CHECKING:
    from streamer.bundle.manifest import Manifest

app = typer.Typer(help="Make a bundle of a model in the format of another program.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Without a callback, a single command would take the place of its group."""


@app.command()
def sherpa(
    model: Annotated[Path, typer.Argument(help="Folder with the ONNX files and tokens.txt of a streaming model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the bundle.")],
    name: Annotated[str, typer.Option("--name", help="Name of the bundle.")],
    version: Annotated[str, typer.Option("--version", help="Version of the bundle.")] = "1.0.0",
    language: Annotated[list[str] | None, typer.Option("--language", help="Language it hears; repeatable.")] = None,
    licence: Annotated[str, typer.Option("--licence", help="Licence of the model.")] = "not stated",
    prefer_int8: Annotated[bool, typer.Option("--prefer-int8", help="Take int8 files where there are some.")] = False,
) -> None:
    """Make a bundle of a streaming model of sherpa-onnx and check it; it is there whole or not at all."""
    with convert_extra():
        from streamer.bundle.sherpa.importing import import_model
        from streamer.bundle.sherpa.source import TOKENS, find_files
        from streamer.bundle.sherpa.writer import About
    from streamer.tasks.tokens import read_tokens

    about = About(name, version, tuple(language or ()), licence)
    with _new_folder(out) as partial:
        files, tokens = find_files(model, prefer_int8), model / TOKENS
        manifest = import_model(files, tokens, read_tokens(tokens).pieces, partial, about)
        _check(partial)
    typer.echo(f"{out}: {name}@{version}, {manifest.description}{_remark(manifest)}")


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `target` if all goes well and is gone if not."""
    if target.exists():
        raise InvalidRequest(f"import: expected a new folder, got {str(target)!r}, which exists")
    above = next(parent for parent in target.absolute().parents if parent.exists())
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=above))
    try:
        yield partial
        partial.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(folder: Path) -> None:
    from streamer.engine.check import check_bundle

    report = check_bundle(folder)
    failed = next((check for check in report.checks if not check.ok), None)
    if failed is not None:
        raise BundleError(f"the imported bundle fails a check: {failed.name}: {failed.detail}")


def _remark(manifest: Manifest) -> str:
    alone = any(graph.audio is not None and graph.max_batch == 1 for graph in manifest.graphs)
    return "; runs one stream at a time, because its rows depend on each other or its batch is fixed" if alone else ""
