"""The manifest of a bundle, format version 1.

Vocabulary follows Triton's model configuration (`data_type`, `dims`, `initial_state`). Row dimensions never include
the batch axis: a graph input of dims `[5120]` is `[B, 5120]` in ONNX, a state of dims `[64, 256]` is an arena
`[S, 64, 256]` in ONNX, where `S` is the number of slots of its pool plus one scratch row for padding.

Naming inside a graph, fixed by the format:

- `slots_<pool>`  int64 `[B]`: the row of each batch item in the arenas of that pool
- `start_<group>` bool `[B]`: the states of that group take their initial value before this step
- `<state>` and `<state>_out`: the arena before and after the step; a graph that only reads a state has no output for it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamer.errors import BundleError

FORMAT = "streamer-bundle"
FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
BundleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
DataType = Literal[
    "TYPE_FP32", "TYPE_FP16", "TYPE_FP64", "TYPE_INT64", "TYPE_INT32", "TYPE_INT8", "TYPE_UINT8", "TYPE_BOOL"
]

NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "TYPE_FP32": np.dtype(np.float32),
    "TYPE_FP16": np.dtype(np.float16),
    "TYPE_FP64": np.dtype(np.float64),
    "TYPE_INT64": np.dtype(np.int64),
    "TYPE_INT32": np.dtype(np.int32),
    "TYPE_INT8": np.dtype(np.int8),
    "TYPE_UINT8": np.dtype(np.uint8),
    "TYPE_BOOL": np.dtype(np.bool_),
}


class _Part(BaseModel):
    """Every part of a manifest is frozen, and a key that the format does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(_Part):
    """An input or output of a graph. `-1` in `dims` is a length that may differ from row to row."""

    name: str
    data_type: DataType
    dims: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type of `data_type`."""
        return NUMPY_TYPES[self.data_type]


class Pool(_Part):
    """What a row of state is (a stream, a beam, a segment) and how many rows one stream may lease."""

    name: Name
    max_rows_per_stream: Annotated[int, Field(ge=1)] = 1


class State(_Part):
    """A tensor that a stream keeps between steps; one row of `dims` per lease of `pool`.

    `initial_state` is the value that every element takes when the group starts.
    """

    name: Name
    data_type: DataType
    dims: tuple[Annotated[int, Field(ge=1)], ...]
    initial_state: float | int | bool = 0
    pool: Name
    group: Name

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type of `data_type`."""
        return NUMPY_TYPES[self.data_type]


class Audio(_Part):
    """How a graph consumes PCM: `chunk_samples` per step, of which `hop_samples` are new.

    A step's outputs cover its chunk but for the last `right_context_samples`. `delay_samples` is the algorithmic
    delay: the longest wait of a sample for the output that speaks of it, compute time aside.
    """

    input: str
    chunk_samples: Annotated[int, Field(ge=1)]
    hop_samples: Annotated[int, Field(ge=1)]
    right_context_samples: Annotated[int, Field(ge=0)] = 0
    delay_samples: Annotated[int, Field(ge=0)]


class Graph(_Part):
    """One ONNX file: a pure step function.

    `reads` and `writes` name states; a state that is written is read too (its arena is an input). `pools` and `groups`
    name the `slots_*` and `start_*` inputs. `n_valid` and `first_frame` name int64 `[B]` outputs of graphs whose
    number of valid output frames varies. `variant_of` names the graph of which this one is a length variant.
    """

    name: Name
    file: FileName
    sha256: Sha256
    opset: Annotated[int, Field(ge=13)]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    pools: tuple[Name, ...] = ()
    groups: tuple[Name, ...] = ()
    reads: tuple[Name, ...] = ()
    writes: tuple[Name, ...] = ()
    audio: Audio | None = None
    n_valid: str | None = None
    first_frame: str | None = None
    variant_of: Name | None = None
    max_batch: Annotated[int, Field(ge=1)] | None = None


class Asset(_Part):
    """A file beside the manifest, for example `tokens.txt`."""

    file: FileName
    sha256: Sha256


class Reference(_Part):
    """A recorded run of one graph: `T` steps of one fresh row, all groups started at the first.

    The `.npz` file holds `in.<tensor>` and `out.<tensor>` of shape `[T, *dims]`. Integers must be equal, floats equal
    within `tolerance` (absolute).
    """

    graph: Name
    file: FileName
    sha256: Sha256
    tolerance: Annotated[float, Field(ge=0)] = 1e-3


class TaskSpec(_Part):
    """Which host loop serves the bundle, and which tensor plays which role in it.

    `roles` maps a role of the task to `graph.tensor`. `program` names a program of the task when one step takes
    several graph calls. `parameters` are the constants the task needs; each task documents and checks its own.
    """

    kind: Literal["transcribe", "synthesize", "codec", "enhance", "vad", "none"]
    program: Name | None = None
    roles: dict[Name, str] = {}
    parameters: dict[Name, float | int | str | bool] = {}
    assets: dict[Name, FileName] = {}


class Manifest(_Part):
    """A whole bundle. Cross-references are checked here; files and graphs are checked by the loader.

    `receptive_field_samples` is how far back an output can depend on input, other than through what a search has said
    since its group started; null means without bound.
    """

    format: Literal["streamer-bundle"] = "streamer-bundle"
    format_version: Literal[1] = 1
    name: BundleName
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    description: str
    licence: str
    languages: tuple[str, ...] = ()
    sample_rate: Annotated[int, Field(ge=1)] | None = None
    receptive_field_samples: Annotated[int, Field(ge=0)] | None = None
    task: TaskSpec
    pools: tuple[Pool, ...] = ()
    states: tuple[State, ...] = ()
    graphs: Annotated[tuple[Graph, ...], Field(min_length=1)]
    assets: tuple[Asset, ...] = ()
    references: tuple[Reference, ...] = ()

    @model_validator(mode="after")
    def _cross_references(self) -> Manifest:
        for problem in _problems(self):
            raise ValueError(problem)
        return self

    def graph(self, name: str) -> Graph:
        """Return the graph called `name`; raises `KeyError`."""
        return {graph.name: graph for graph in self.graphs}[name]

    def state(self, name: str) -> State:
        """Return the state called `name`; raises `KeyError`."""
        return {state.name: state for state in self.states}[name]

    def role(self, role: str) -> tuple[str, str]:
        """Return `(graph, tensor)` of a role of the task; raises `KeyError`."""
        graph, _, tensor = self.task.roles[role].partition(".")
        return graph, tensor


def _problems(manifest: Manifest) -> Iterator[str]:
    yield from _repeated("pool", [pool.name for pool in manifest.pools])
    yield from _repeated("state", [state.name for state in manifest.states])
    yield from _repeated("graph", [graph.name for graph in manifest.graphs])
    pools = {pool.name for pool in manifest.pools}
    for state in manifest.states:
        if state.pool not in pools:
            yield f"state {state.name}: expected a pool of {sorted(pools)}, got {state.pool!r}"
    for graph in manifest.graphs:
        yield from _graph_problems(manifest, graph)
    assets = {asset.file for asset in manifest.assets}
    for role, file in manifest.task.assets.items():
        if file not in assets:
            yield f"task asset {role}: expected a file of {sorted(assets)}, got {file!r}"
    yield from _role_problems(manifest)


def _repeated(kind: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{kind} {name} is declared {names.count(name)} times, expected once"


def _graph_problems(manifest: Manifest, graph: Graph) -> Iterator[str]:
    states = {state.name: state for state in manifest.states}
    for name in (*graph.reads, *graph.writes):
        if name not in states:
            yield f"graph {graph.name}: expected a state of {sorted(states)}, got {name!r}"
            return
    for name in graph.writes:
        if name not in graph.reads:
            yield f"graph {graph.name}: state {name} is written and must be listed in reads too"
    touched = [states[name] for name in graph.reads]
    for what, listed, needed in (
        ("pools", graph.pools, {state.pool for state in touched}),
        ("groups", graph.groups, {state.group for state in touched}),
    ):
        if needed - set(listed):
            yield f"graph {graph.name}: {what} lacks {sorted(needed - set(listed))}"
    yield from _tensor_problems(manifest, graph)


def _tensor_problems(manifest: Manifest, graph: Graph) -> Iterator[str]:
    outputs = {tensor.name for tensor in graph.outputs}
    for output in (graph.n_valid, graph.first_frame):
        if output is not None and output not in outputs:
            yield f"graph {graph.name}: expected an output of {sorted(outputs)}, got {output!r}"
    if graph.audio and graph.audio.input not in {tensor.name for tensor in graph.inputs}:
        yield f"graph {graph.name}: audio input {graph.audio.input!r} is not among its inputs"
    if graph.audio and manifest.sample_rate is None:
        yield f"graph {graph.name}: consumes audio, so the manifest needs a sample_rate"


def _role_problems(manifest: Manifest) -> Iterator[str]:
    tensors = {f"{graph.name}.{tensor.name}" for graph in manifest.graphs for tensor in (*graph.inputs, *graph.outputs)}
    for role, target in manifest.task.roles.items():
        if target not in tensors:
            yield f"role {role}: expected graph.tensor, got {target!r}, which no graph has"
    for reference in manifest.references:
        if reference.graph not in {graph.name for graph in manifest.graphs}:
            yield f"reference {reference.file}: unknown graph {reference.graph!r}"


def parse_manifest(text: str | bytes, bundle: str) -> Manifest:
    """Parse a manifest; raises `BundleError` naming `bundle`, the key, what was expected and what was there."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"bundle {bundle}: {where}: {first['msg']}, got {first['input']!r:.120}") from None


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/manifest.json`; raises `BundleError`."""
    path = folder / MANIFEST_NAME
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {folder.name}: cannot read {MANIFEST_NAME}: {error.strerror}") from None
    return parse_manifest(text, folder.name)


def manifest_schema() -> str:
    """Return the JSON schema of the format, as published in `streamer/bundle/manifest.schema.json`."""
    return json.dumps(Manifest.model_json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("manifest.schema.json").write_text(manifest_schema(), encoding="utf-8")
