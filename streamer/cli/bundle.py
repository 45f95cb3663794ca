"""`streamer bundle`: what is installed, and whether it is sound."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli import bundle_export, bundle_import
from streamer.cli.options import BundlePath, ConfigFile, given, settings_from

if TYPE_CHECKING:
    from rich.table import Table

    from streamer.bundle.manifest import Manifest
    from streamer.bundle.registry import Entry, Registry

app = typer.Typer(help="List, show and check bundles of models.", no_args_is_help=True)
app.add_typer(bundle_export.app, name="export")
app.add_typer(bundle_import.app, name="import")

AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command("list")
def list_bundles(as_json: AsJson = False, config: ConfigFile = None, bundle_path: BundlePath = None) -> None:
    """List the bundles on the search path."""
    entries = _registry(config, bundle_path).entries
    if as_json:
        _print_json([_plain_entry(entry) for entry in entries])
        return
    table = _table("name", "version", "task", "languages", "rate", "description")
    for entry in entries:
        table.add_row(entry.name, entry.version, *_entry_cells(entry))
    _print_table(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    as_json: AsJson = False,
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
) -> None:
    """Show what the manifest of a bundle says."""
    entry = _registry(config, bundle_path).find(name)
    if entry.error is not None:
        raise entry.error
    manifest = _manifest(entry.folder)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
        return
    for table in (_facts(manifest, entry.folder), _graphs(manifest), _states(manifest)):
        _print_table(table)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="NAME, NAME@VERSION or the folder of a bundle.")],
    as_json: AsJson = False,
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
) -> None:
    """Check files, signatures, recorded references and state handling; status 1 if anything fails."""
    from streamer.engine.check import check_bundle

    folder = Path(name) if Path(name).is_dir() else _registry(config, bundle_path).find(name).folder
    report = check_bundle(folder)
    if as_json:
        checks = [{"name": each.name, "ok": each.ok, "detail": each.detail} for each in report.checks]
        _print_json({"bundle": report.bundle, "ok": report.ok, "checks": checks})
    else:
        table = _table("", "check", "detail", title=report.bundle)
        for each in report.checks:
            table.add_row("[green]ok[/]" if each.ok else "[red]FAIL[/]", _literal(each.name), _literal(each.detail))
        _print_table(table)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON schema of manifests."""
    from streamer.bundle.manifest import manifest_schema

    typer.echo(manifest_schema(), nl=False)


def _registry(config: Path | None, bundle_path: list[Path] | None) -> Registry:
    from streamer.bundle.registry import Registry

    return Registry(settings_from(config, {"bundle_path": given(bundle_path)}).bundle_path)


def _manifest(folder: Path) -> Manifest:
    from streamer.bundle.manifest import read_manifest

    return read_manifest(folder)


def _plain_entry(entry: Entry) -> dict[str, Any]:
    found = {"name": entry.name, "version": entry.version, "folder": str(entry.folder)}
    if entry.error is not None:
        return {**found, "error": str(entry.error)}
    manifest = _manifest(entry.folder)
    return {
        **found,
        "task": manifest.task.kind,
        "languages": list(manifest.languages),
        "sample_rate": manifest.sample_rate,
        "description": manifest.description,
    }


def _entry_cells(entry: Entry) -> tuple[str, ...]:
    if entry.error is not None:
        return "-", "-", "-", f"[red]damaged:[/] {_literal(str(entry.error))}"
    manifest = _manifest(entry.folder)
    languages = " ".join(manifest.languages) or "-"
    return manifest.task.kind, languages, str(manifest.sample_rate or "-"), _literal(manifest.description)


def _facts(manifest: Manifest, folder: Path) -> Table:
    facts = {
        "description": manifest.description,
        "folder": str(folder),
        "licence": manifest.licence,
        "task": manifest.task.kind,
        "program": manifest.task.program or "-",
        "languages": " ".join(manifest.languages) or "-",
        "sample rate": f"{manifest.sample_rate} Hz" if manifest.sample_rate else "-",
        "receptive field": _receptive_field(manifest),
        "parameters": ", ".join(f"{key}={value}" for key, value in sorted(manifest.task.parameters.items())) or "-",
        "roles": ", ".join(f"{role}={target}" for role, target in manifest.task.roles.items()) or "-",
    }
    table = _table("", "", title=f"{manifest.name}@{manifest.version}", show_header=False)
    for name, value in facts.items():
        table.add_row(name, _literal(value))
    return table


def _receptive_field(manifest: Manifest) -> str:
    samples = manifest.receptive_field_samples
    if samples is None:
        return "unbounded"
    return f"{samples / manifest.sample_rate:.2f} s" if manifest.sample_rate else f"{samples} samples"


def _graphs(manifest: Manifest) -> Table:
    table = _table("graph", "file", "opset", "inputs", "outputs", "chunk", "hop", "delay", title="graphs")
    for graph in manifest.graphs:
        audio = graph.audio
        times = (
            [_ms(n, manifest) for n in (audio.chunk_samples, audio.hop_samples, audio.delay_samples)] if audio else []
        )
        table.add_row(
            graph.name,
            graph.file,
            str(graph.opset),
            _names(graph.inputs),
            _names(graph.outputs),
            *(times or ["-"] * 3),
        )
    return table


def _states(manifest: Manifest) -> Table:
    table = _table("state", "type", "dims", "pool", "group", "bytes", title="states of a stream")
    for state in manifest.states:
        size = state.dtype.itemsize
        for dim in state.dims:
            size *= dim
        dims = " x ".join(str(dim) for dim in state.dims)
        table.add_row(state.name, state.data_type, dims, state.pool, state.group, str(size))
    return table


def _ms(samples: int, manifest: Manifest) -> str:
    return f"{1000 * samples / manifest.sample_rate:g} ms" if manifest.sample_rate else f"{samples} samples"


def _names(tensors: Iterable[Any]) -> str:
    return " ".join(tensor.name for tensor in tensors) or "-"


def _table(*columns: str, title: str | None = None, show_header: bool = True) -> Table:
    from rich.table import Table

    return Table(*columns, title=title, show_header=show_header, title_justify="left")


def _literal(text: str) -> str:
    """Brackets in manifests are text, not markup."""
    from rich.markup import escape

    return escape(text)


def _print_table(table: Table) -> None:
    from rich.console import Console

    Console().print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
