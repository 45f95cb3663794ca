"""Loads a bundle and trusts nothing in it: hashes, then the signature of every graph against the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from streamer.bundle.manifest import MANIFEST_NAME, Graph, Manifest, read_manifest
from streamer.errors import BundleError, InvalidRequest

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
GRAPH_OPTIMIZATION = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
_ONNX_TYPES: Mapping[str, str] = {
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_BOOL": "tensor(bool)",
}
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle on disk. `digest` is the sha256 of its manifest, which holds the sha256 of every other file."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def key(self) -> str:
        """`name@version`, how leases and steps name the bundle."""
        return f"{self.manifest.name}@{self.manifest.version}"


@dataclass(frozen=True, slots=True)
class _Signature:
    """What one input or output of a graph must look like; a dimension of None must be free."""

    onnx_type: str
    shape: tuple[int | None, ...]


def load_bundle(folder: Path) -> Bundle:
    """Read and check the bundle in `folder`; raises `BundleError` naming the bundle, graph and tensor at fault."""
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    for graph in manifest.graphs:
        _check_signature(manifest, graph, open_session(folder, manifest, graph))
    return Bundle(folder, manifest, _sha256(folder / MANIFEST_NAME))


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check that every file the manifest names is in `folder` and has its hash; raises `BundleError`."""
    for what, file, expected in _files(manifest):
        path = folder / file
        if path.resolve().parent != folder.resolve():
            raise BundleError(f"bundle {manifest.name}: {what}: file {file} leads out of the bundle")
        if not path.is_file():
            raise BundleError(f"bundle {manifest.name}: {what}: file {file} is missing")
        got = _sha256(path)
        if got != expected:
            raise BundleError(f"bundle {manifest.name}: {what}: sha256 of {file}: expected {expected}, got {got}")


def open_session(
    folder: Path, manifest: Manifest, graph: Graph, provider: str = "cpu", intra_op_threads: int = 1
) -> ort.InferenceSession:
    """Open one graph for `provider` ("cpu" or "cuda").

    Execution is sequential, because the order of nodes is what makes arenas safe to update in place. Raises
    `BundleError` if the file is no valid graph, `InvalidRequest` if this ONNX Runtime lacks the provider.
    """
    wanted = PROVIDERS[provider]
    if provider == "cuda" and hasattr(ort, "preload_dlls"):
        # Finds CUDA and cuDNN where pip put them; what the system has is found without.
        ort.preload_dlls()
    _require_provider(provider, wanted[0], ort.get_available_providers())
    options = ort.SessionOptions()
    options.graph_optimization_level = GRAPH_OPTIMIZATION
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # fatal: every error is raised too, and logged by us
    try:
        session = ort.InferenceSession(str(folder / graph.file), options, providers=list(wanted))
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        reason = str(error).splitlines()[0].replace(str(folder), manifest.name)
        raise BundleError(f"bundle {manifest.name}: graph {graph.name}: cannot load {graph.file}: {reason}") from None
    _require_provider(provider, wanted[0], session.get_providers())
    return session


def _require_provider(provider: str, needed: str, present: list[str]) -> None:
    """ONNX Runtime drops a provider it cannot start with no more than a warning; here that is an error."""
    if needed not in present:
        raise InvalidRequest(f"provider {provider}: expected {needed}, got only {', '.join(present)}")


def _files(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    for graph in manifest.graphs:
        yield f"graph {graph.name}", graph.file, graph.sha256
    for asset in manifest.assets:
        yield "asset", asset.file, asset.sha256
    for reference in manifest.references:
        yield f"reference of graph {reference.graph}", reference.file, reference.sha256


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _check_signature(manifest: Manifest, graph: Graph, session: ort.InferenceSession) -> None:
    where = f"bundle {manifest.name}: graph {graph.name}"
    _compare(where, "input", _expected_inputs(manifest, graph), session.get_inputs())
    _compare(where, "output", _expected_outputs(manifest, graph), session.get_outputs())


def _expected_inputs(manifest: Manifest, graph: Graph) -> dict[str, _Signature]:
    expected = {tensor.name: _row_signature(tensor.data_type, tensor.dims) for tensor in graph.inputs}
    expected |= {f"slots_{pool}": _row_signature("TYPE_INT64", ()) for pool in graph.pools}
    expected |= {f"start_{group}": _row_signature("TYPE_BOOL", ()) for group in graph.groups}
    for state in map(manifest.state, graph.reads):
        expected[state.name] = _row_signature(state.data_type, state.dims)
    return expected


def _expected_outputs(manifest: Manifest, graph: Graph) -> dict[str, _Signature]:
    expected = {tensor.name: _row_signature(tensor.data_type, tensor.dims) for tensor in graph.outputs}
    for state in map(manifest.state, graph.writes):
        expected[f"{state.name}_out"] = _row_signature(state.data_type, state.dims)
    return expected


def _row_signature(data_type: str, dims: tuple[int, ...]) -> _Signature:
    """The batch axis of rows and the slot axis of arenas must both be free."""
    return _Signature(_ONNX_TYPES[data_type], (None, *(None if dim == -1 else dim for dim in dims)))


def _compare(where: str, kind: str, expected: dict[str, _Signature], found: list[Any]) -> None:
    present = {node.name: node for node in found}
    for name in expected:
        if name not in present:
            raise BundleError(f"{where}: expected {kind} {name}, got only {', '.join(present)}")
    for name, node in present.items():
        if name not in expected:
            raise BundleError(f"{where}: {kind} {name} is not in the manifest, expected {', '.join(expected)}")
        _compare_one(f"{where}: {kind} {name}", expected[name], node, lenient=kind == "output")


def _compare_one(where: str, expected: _Signature, node: Any, lenient: bool) -> None:
    """`lenient`: shape inference may leave a fixed output dimension free; the engine checks what comes out of it."""
    if node.type != expected.onnx_type:
        raise BundleError(f"{where}: expected {expected.onnx_type}, got {node.type}")
    got = tuple(dim if isinstance(dim, int) else None for dim in node.shape)
    same = len(got) == len(expected.shape) and all(
        actual == wanted or (lenient and actual is None) for actual, wanted in zip(got, expected.shape, strict=True)
    )
    if not same:
        raise BundleError(f"{where}: expected shape {_shown(expected.shape)}, got {_shown(got)}")


def _shown(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("free" if dim is None else str(dim) for dim in shape) + "]"
