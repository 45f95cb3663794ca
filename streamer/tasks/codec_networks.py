"""What a codec's bundle may have beside the codec: models of its codes, to write them short and to make them up."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.audio.snc1 import FLOAT_NETWORK, NETWORK
from streamer.bundle.manifest import Graph, Manifest
from streamer.errors import BundleError
from streamer.tasks.code_network import weights_of
from streamer.tasks.code_tables import CodeTables
from streamer.tasks.roles import Roles
from streamer.work import Array


@dataclass(frozen=True, slots=True)
class NetworkKind:
    """What tells the networks of a bundle apart: how their roles begin, and what they compute in."""

    prefix: str
    data_type: str
    # Sums of floats depend on the batch.
    is_alone: bool


KINDS: Mapping[int, NetworkKind] = {
    NETWORK: NetworkKind("entropy", "TYPE_INT32", is_alone=False),
    FLOAT_NETWORK: NetworkKind("float_entropy", "TYPE_FP32", is_alone=True),
}


@dataclass(frozen=True, slots=True)
class EntropyNetwork:
    """A network that tells how likely each code of the first `books` books is: in integers, or in floats.

    Roles of a graph with a state, called once per frame: `entropy_previous` (input, int64 `[books]`, the codes of the
    frame before, -1 where there are none) and `entropy_context` (output, int32 `[width]`). Of a graph without:
    `entropy_next_context` (input, that output), `entropy_codes` (input, int64 `[books]`, the codes of the frame as far
    as they are known), `entropy_book` (input, int64 `[]`) and `entropy_logits` (output, int32 `[codes]`, 1/8 bit).
    The other books are written by `tables`.

    The float network has the same roles with `float_` before them, context and logits in float32, and graphs with a
    `max_batch` of 1; its logits are rounded here.
    """

    graph: Graph
    previous: str
    context: str
    next_graph: Graph
    next_context: str
    codes: str
    book: str
    logits: str
    books: int
    weights: Array
    tables: CodeTables

    @classmethod
    def of(
        cls, kind: NetworkKind, roles: Roles, tables: CodeTables | None, arrays: Mapping[str, Array]
    ) -> EntropyNetwork | None:
        """Read the roles, or return None for a bundle without them; raises `BundleError`."""
        prefix, data_type = kind.prefix, kind.data_type
        if f"{prefix}_logits" not in roles.manifest.task.roles:
            return None
        if tables is None:
            raise BundleError(f"bundle {roles.manifest.name}: expected the asset tables beside the network, got none")
        coarse = roles.integer("coarse_books", 1)
        if coarse > tables.books:
            roles.refuse("coarse_books", f"at most {tables.books}", coarse)
        graph, previous = roles.input(f"{prefix}_previous", "TYPE_INT64")
        next_graph, context = roles.input(f"{prefix}_next_context", data_type)
        if kind.is_alone:
            _check_alone(roles.manifest.name, graph, next_graph)
        return cls(
            graph=graph,
            previous=previous.name,
            context=roles.output_of(graph, f"{prefix}_context", data_type).name,
            next_graph=next_graph,
            next_context=context.name,
            codes=roles.input_of(next_graph, f"{prefix}_codes", "TYPE_INT64").name,
            book=roles.input_of(next_graph, f"{prefix}_book", "TYPE_INT64", 0).name,
            logits=roles.output_of(next_graph, f"{prefix}_logits", data_type).name,
            books=coarse,
            weights=weights_of(arrays),
            tables=tables,
        )


def networks_of(roles: Roles, tables: CodeTables | None, arrays: Mapping[str, Array]) -> Mapping[int, EntropyNetwork]:
    """Return what networks there are by entropy mode; raises `BundleError`."""
    found = {mode: EntropyNetwork.of(kind, roles, tables, arrays) for mode, kind in KINDS.items()}
    return {mode: network for mode, network in found.items() if network is not None}


def _check_alone(bundle: str, *graphs: Graph) -> None:
    for graph in graphs:
        if graph.max_batch != 1:
            got = f"expected max_batch 1 of a float network, got {graph.max_batch}"
            raise BundleError(f"bundle {bundle}: graph {graph.name}: {got}")


@dataclass(frozen=True, slots=True)
class Predictor:
    """Makes up the codes that were not sent, at the decoder.

    Roles, all of one graph that is called once per frame: `predict_codes` (input, int64 `[books]`, -1 where there is
    none), `predict_uniform` (input, float32 `[books]`, numbers from 0 to 1 to draw by) and `predict_filled` (output,
    int64 `[books]`).
    """

    graph: Graph
    codes: str
    uniform: str
    filled: str

    @classmethod
    def of(cls, roles: Roles, books: int) -> Predictor | None:
        """Read the roles, or return None for a bundle without them; raises `BundleError`."""
        if "predict_filled" not in roles.manifest.task.roles:
            return None
        graph, codes = roles.input("predict_codes", "TYPE_INT64")
        uniform = roles.input_of(graph, "predict_uniform", "TYPE_FP32")
        filled = roles.output_of(graph, "predict_filled", "TYPE_INT64")
        if not codes.dims == uniform.dims == filled.dims == (books,):
            got = list(codes.dims)
            raise BundleError(f"bundle {roles.manifest.name}: expected predict_* of {books} books, got {got}")
        return cls(graph, codes.name, uniform.name, filled.name)


def read_tables(manifest: Manifest, folder: Path) -> Mapping[str, Array]:
    """Return the arrays of the asset `tables`, none without it; raises `BundleError`."""
    if "tables" not in manifest.task.assets:
        return {}
    try:
        # Opened here: numpy leaves a file open that is no archive.
        with (folder / manifest.task.assets["tables"]).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"bundle {manifest.name}: cannot read the tables of codes: {error}") from None


def tables_of(bundle: str, arrays: Mapping[str, Array], books: int, codes: int) -> CodeTables | None:
    """Return the tables of codes, None if there are no arrays; raises `BundleError` if they are of another codec."""
    if not arrays:
        return None
    tables = CodeTables.of(arrays)
    if (tables.books, tables.codes) != (books, codes):
        got = f"{tables.books} of {tables.codes}"
        raise BundleError(f"bundle {bundle}: expected tables of {books} books of {codes} codes, got {got}")
    return tables
