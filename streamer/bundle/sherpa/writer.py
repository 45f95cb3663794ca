"""Writes what an importer built: graphs, tokens, a model card and the manifest."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from streamer.bundle.manifest import MANIFEST_NAME, Asset, Graph, Manifest, Pool, TaskSpec
from streamer.bundle.sherpa.parts import Built, BuiltGraph
from streamer.bundle.sherpa.source import TOKENS, Source
from streamer.errors import BundleError

CARD = "README.md"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class About:
    """What the files do not say of a model."""

    name: str
    version: str = "1.0.0"
    languages: tuple[str, ...] = ()
    licence: str = "not stated"


def write_imported(folder: Path, built: Built, source: Source, about: About) -> Manifest:
    """Write the bundle into the existing, empty `folder` and return its manifest; raises `BundleError`."""
    shutil.copyfile(source.tokens, folder / TOKENS)
    (folder / CARD).write_text(model_card(built, source, about), encoding="utf-8")
    graphs = tuple(_write_graph(folder, graph) for graph in built.graphs)
    states = tuple({state.name: state for graph in built.graphs for state in graph.builder.states}.values())
    try:
        manifest = Manifest(
            name=about.name,
            version=about.version,
            description=f"{built.kind}, imported from the format of sherpa-onnx",
            licence=about.licence,
            languages=about.languages,
            sample_rate=built.sample_rate,
            task=_task(built),
            pools=tuple(Pool(name=name) for name in dict.fromkeys(state.pool for state in states)),
            states=states,
            graphs=graphs,
            assets=tuple(Asset(file=file, sha256=sha256(folder / file)) for file in (TOKENS, CARD)),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"{where}: {first['msg']}, got {first['input']!r:.60}") from None
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def model_card(built: Built, source: Source, about: About) -> str:
    """What is known of an imported model: its type, its licence as given, and its files."""
    files = [*(model.path for model in source.models.values()), source.tokens]
    rows = [f"| {path.name} | {path.stat().st_size} | {sha256(path)} |" for path in files]
    return "\n".join(
        [
            f"# {about.name}",
            "",
            f"{built.kind}, imported from files in the format of sherpa-onnx. Nothing was trained, and nothing is",
            "known here of its data and its error rates: see the model's own card.",
            "",
            f"Licence, as given at the import: {about.licence}",
            "",
            "| file | bytes | sha256 |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def sha256(path: Path) -> str:
    """Hash a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _write_graph(folder: Path, graph: BuiltGraph) -> Graph:
    builder, path = graph.builder, folder / f"{graph.name}.onnx"
    path.write_bytes(builder.model().SerializeToString())
    return Graph(
        name=graph.name,
        file=path.name,
        sha256=sha256(path),
        opset=builder.opset,
        inputs=tuple(builder.inputs),
        outputs=tuple(builder.outputs),
        pools=tuple(builder.pools),
        groups=tuple(builder.groups),
        reads=tuple(state.name for state in builder.states),
        writes=builder.writes,
        audio=graph.audio,
        max_batch=graph.max_batch,
    )


def _task(built: Built) -> TaskSpec:
    return TaskSpec(
        kind="transcribe",
        program=built.program,
        roles=dict(built.roles),
        parameters=dict(built.parameters),
        assets={"tokens": TOKENS},
    )
