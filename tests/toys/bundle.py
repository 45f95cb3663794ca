"""Writes toy bundles: files first, then a manifest with their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.toys.graph import OPSET


def tensor(name: str, data_type: str, *dims: int) -> dict[str, Any]:
    return {"name": name, "data_type": data_type, "dims": list(dims)}


def state(name: str, data_type: str, dims: tuple[int, ...], pool: str, group: str, initial: Any = 0) -> dict[str, Any]:
    return {
        "name": name,
        "data_type": data_type,
        "dims": list(dims),
        "initial_state": initial,
        "pool": pool,
        "group": group,
    }


def write_bundle(
    folder: Path,
    name: str,
    version: str,
    graphs: Mapping[str, tuple[bytes, dict[str, Any]]],
    manifest: dict[str, Any],
    assets: Mapping[str, bytes] | None = None,
) -> Path:
    """Write `folder/name/` with one ONNX file per graph and return it; `graphs` maps a name to (model, entry)."""
    target = folder / name
    target.mkdir(parents=True)
    entries = []
    for graph, (model, entry) in graphs.items():
        digest = _write(target / f"{graph}.onnx", model)
        entries.append({"name": graph, "file": f"{graph}.onnx", "sha256": digest, "opset": OPSET, **entry})
    listed = [{"file": file, "sha256": _write(target / file, data)} for file, data in (assets or {}).items()]
    whole = {
        "name": name,
        "version": version,
        "description": f"toy bundle {name}",
        "licence": "Apache-2.0",
        "task": {"kind": "none"},
        "graphs": entries,
        "assets": listed,
        **manifest,
    }
    save_manifest(target, whole)
    return target


def edit_manifest(folder: Path, change: Any) -> None:
    """Apply `change(manifest)` to the manifest of the bundle in `folder`, in place."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    save_manifest(folder, manifest)


def save_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
