"""Writes a bundle: graphs, assets, a recorded reference run and a manifest that the server's own schema accepts."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.common.onnx_export import OPSET, FreeLengths, export_graph
from models.common.slots import SlottedGraph, StateSpec
from models.common.table_matrix import TableMatrix
from streamer.bundle.manifest import MANIFEST_NAME, Manifest

_TYPES = {
    torch.float32: "TYPE_FP32",
    torch.float16: "TYPE_FP16",
    torch.float64: "TYPE_FP64",
    torch.int64: "TYPE_INT64",
    torch.int32: "TYPE_INT32",
    torch.uint8: "TYPE_UINT8",
    torch.bool: "TYPE_BOOL",
}


def sha256(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state_entry(state: StateSpec) -> dict[str, Any]:
    """Describe one state for the manifest."""
    return {
        "name": state.name,
        "data_type": _TYPES[state.dtype],
        "dims": list(state.dims),
        "initial_state": state.initial,
        "pool": state.pool,
        "group": state.group,
    }


def write_graph(
    folder: Path,
    name: str,
    graph: SlottedGraph,
    inputs: Sequence[Tensor],
    extra: Mapping[str, Any],
    taps: Sequence[str] = (),
    free: FreeLengths = MappingProxyType({}),
    tables: Mapping[str, TableMatrix] = MappingProxyType({}),
) -> dict[str, Any]:
    """Export `graph` to `folder/name.onnx` and return its manifest entry; `inputs` are example rows `[B, *dims]`.

    `taps`, `free` and `tables` as in `export_graph`.
    """
    path = folder / f"{name}.onnx"
    export_graph(graph, inputs, path, taps, free, tables)
    with torch.no_grad():
        outputs = run_rows(graph, inputs, [True] * inputs[0].shape[0])
    return {
        "name": name,
        "file": path.name,
        "sha256": sha256(path),
        "opset": OPSET,
        "inputs": [_tensor(key, row, len(free.get(key, ()))) for key, row in zip(graph.inputs, inputs, strict=True)],
        "outputs": [_tensor(key, row, len(free.get(key, ()))) for key, row in zip(graph.outputs, outputs, strict=True)],
        "pools": list(graph.pools),
        "groups": list(graph.groups),
        "reads": [state.name for state in graph.states],
        "writes": [state.name for state in graph.written],
        **extra,
    }


def run_rows(graph: SlottedGraph, inputs: Sequence[Tensor], start: Sequence[bool]) -> list[Tensor]:
    """Run one torch step of fresh rows and return its outputs without the arenas."""
    batch = inputs[0].shape[0]
    slots = [torch.arange(batch) for _ in graph.pools]
    starts = [torch.tensor(start) for _ in graph.groups]
    return list(graph(list(inputs), slots, starts, graph.initial_arenas(batch + 1))[: len(graph.outputs)])


def write_reference(folder: Path, name: str, graph: SlottedGraph, steps: Mapping[str, Tensor]) -> dict[str, Any]:
    """Record a torch run of one row over `steps` (`[T, *dims]` per input) and return its manifest entry."""
    arenas = graph.initial_arenas(2, dirt=1.0)
    length = next(iter(steps.values())).shape[0]
    recorded: dict[str, list[Tensor]] = {output: [] for output in graph.outputs}
    with torch.no_grad():
        for t in range(length):
            inputs = [steps[key][t : t + 1] for key in graph.inputs]
            starts = [torch.tensor([t == 0]) for _ in graph.groups]
            results = graph(inputs, [torch.tensor([1]) for _ in graph.pools], starts, arenas)
            arenas = graph.updated(arenas, results)
            for output, value in zip(graph.outputs, results, strict=False):
                recorded[output].append(value[0])
    path = folder / f"{name}.reference.npz"
    arrays = {f"in.{key}": value.numpy() for key, value in steps.items()}
    arrays |= {f"out.{key}": torch.stack(values).numpy() for key, values in recorded.items()}
    np.savez_compressed(path, **arrays)
    return {"graph": name, "file": path.name, "sha256": sha256(path), "tolerance": 1e-3}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> Manifest:
    """Check `manifest` against the format and write it; raises pydantic's `ValidationError`."""
    checked = Manifest.model_validate(manifest)
    text = checked.model_dump_json(indent=2, exclude_defaults=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    return checked


def asset(folder: Path, source: Path, name: str) -> dict[str, str]:
    """Copy `source` into the bundle as `name` and return its manifest entry."""
    target = folder / name
    if source.resolve() != target.resolve():
        shutil.copyfile(source, target)
    return {"file": name, "sha256": sha256(target)}


def _tensor(name: str, example: Tensor, free: int) -> dict[str, Any]:
    dims = [-1] * free + list(example.shape[1 + free :])
    return {"name": name, "data_type": _TYPES[example.dtype], "dims": dims}
