"""Checks one bundle for people: every failure is a line, none hides the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bundle.loader import Bundle, load_bundle, open_session
from streamer.bundle.manifest import Graph, Reference, Tensor
from streamer.errors import BundleError
from streamer.work import Array


@dataclass(frozen=True, slots=True)
class Check:
    """One named check and what it saw."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one bundle."""

    bundle: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def __str__(self) -> str:
        lines = [f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}" for check in self.checks]
        return "\n".join([f"bundle {self.bundle}", *lines])


def check_files(folder: Path) -> tuple[Bundle | None, Report]:
    """Load the bundle in `folder`; the bundle is None if that failed."""
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        return None, Report(folder.name, (Check("files and signatures", False, str(error)),))
    count = len(bundle.manifest.graphs)
    return bundle, Report(bundle.key, (Check("files and signatures", True, f"{count} graphs match the manifest"),))


def check_references(bundle: Bundle) -> tuple[Check, ...]:
    """Replay every recorded run and compare its outputs."""
    return tuple(_check_reference(bundle, reference) for reference in bundle.manifest.references)


def _check_reference(bundle: Bundle, reference: Reference) -> Check:
    name = f"reference {reference.file} of graph {reference.graph}"
    try:
        with np.load(bundle.folder / reference.file, allow_pickle=False) as file:
            recorded = {key: file[key] for key in file.files}
        worst = max(_replay(bundle, reference, recorded), default=0.0)
    except (BundleError, OSError, ValueError, KeyError) as error:
        return Check(name, False, f"cannot be replayed: {error}")
    except _Differs as error:
        return Check(name, False, str(error))
    return Check(name, True, f"largest difference {worst:.2g}, allowed {reference.tolerance:g}")


class _Differs(Exception):
    """An output is not the recorded one."""


def _replay(bundle: Bundle, reference: Reference, recorded: Mapping[str, Array]) -> Iterator[float]:
    """Yield the largest difference of each output of each step; raises `_Differs` where it is too large."""
    manifest = bundle.manifest
    graph = manifest.graph(reference.graph)
    session = open_session(bundle.folder, manifest, graph)
    arenas = {
        state.name: np.full((2, *state.dims), state.initial_state, state.dtype)
        for state in map(manifest.state, graph.reads)
    }
    for step in range(_steps(graph, recorded)):
        found = _run(session, graph, arenas, recorded, step)
        arenas |= {name: found[f"{name}_out"] for name in graph.writes}
        for tensor in graph.outputs:
            expected = recorded[f"out.{tensor.name}"][step]
            yield _difference(tensor, expected, found[tensor.name][0], step, reference.tolerance)


def _steps(graph: Graph, recorded: Mapping[str, Array]) -> int:
    needed = [*(f"in.{tensor.name}" for tensor in graph.inputs), *(f"out.{tensor.name}" for tensor in graph.outputs)]
    missing = [key for key in needed if key not in recorded]
    if missing:
        raise ValueError(f"expected {', '.join(needed)}, lacks {', '.join(missing)}")
    counts = {len(recorded[key]) for key in needed}
    if len(counts) != 1:
        raise ValueError(f"expected as many steps of every tensor, got {sorted(counts)}")
    return counts.pop()


def _run(
    session: Any, graph: Graph, arenas: Mapping[str, Array], recorded: Mapping[str, Array], step: int
) -> dict[str, Array]:
    feeds: dict[str, Array] = {
        tensor.name: np.asarray(recorded[f"in.{tensor.name}"][step : step + 1], tensor.dtype) for tensor in graph.inputs
    }
    feeds |= {f"slots_{pool}": np.zeros(1, np.int64) for pool in graph.pools}
    feeds |= {f"start_{group}": np.array([step == 0]) for group in graph.groups}
    names = [node.name for node in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, {**feeds, **arenas}), strict=True))
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise BundleError(f"step {step} raised {str(error).splitlines()[0]}") from None


def _difference(tensor: Tensor, expected: Array, got: Array, step: int, tolerance: float) -> float:
    where = f"output {tensor.name} of step {step}"
    if expected.shape != got.shape:
        raise _Differs(f"{where}: expected shape {list(expected.shape)}, got {list(got.shape)}")
    if tensor.dtype.kind != "f":
        if not np.array_equal(expected, got):
            raise _Differs(f"{where}: expected {expected.tolist()!s:.60}, got {got.tolist()!s:.60}")
        return 0.0
    worst = float(np.max(np.abs(expected.astype(np.float64) - got), initial=0.0))
    # Not `worst > tolerance`: a NaN must fail.
    if not worst <= tolerance:
        raise _Differs(f"{where}: differs by {worst:.2g}, allowed {tolerance:g}")
    return worst
