"""Copies the nodes of one ONNX model into another, with names of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx
import onnx.inliner
import onnx.version_converter

from streamer.bundle.sherpa.ancestry import subgraphs
from streamer.errors import BundleError

_DEFAULT_DOMAINS = ("", "ai.onnx")
_PREFIX = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(slots=True)
class Inlined:
    """A model ready to be copied under `prefix`; `source` is what it was made of, `domains` its other operator sets.

    `initializers` are renamed already; the copies refer to them.
    """

    source: onnx.ModelProto
    prefix: str
    graph: onnx.GraphProto
    domains: Mapping[str, int]
    initializers: Sequence[onnx.TensorProto]
    _weights: Mapping[str, str] = field(repr=False)
    _copies: int = 0

    @property
    def inputs(self) -> list[str]:
        """Names of the model's inputs; in old files initializers are listed among them, here they are not."""
        return [value.name for value in self.graph.input if value.name not in self._weights]

    def copy(self, inputs: Mapping[str, str] | Sequence[str]) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return the nodes of one more copy that reads `inputs`, and the names of its outputs."""
        expected = self.inputs
        given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(expected, inputs, strict=False))
        if sorted(given) != sorted(expected) or len(inputs) != len(expected):
            raise ValueError(f"graph {self.prefix}: expected inputs {expected}, got {inputs}")
        # A slash is in no name that a builder gives, so copies and weights never meet.
        space = f"{self.prefix}#{self._copies}/"
        self._copies += 1
        names = {**self._weights, **given}
        nodes = _copied(self.graph.node, names, space)
        return nodes, [names[value.name] for value in self.graph.output]


def prepare(model: onnx.ModelProto, prefix: str, opset: int) -> Inlined:
    """Bring `model` to `opset`, its functions inlined; raises `BundleError` saying what cannot be."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"expected a prefix of lower-case letters, digits and underscores, got {prefix!r}")
    plain = onnx.inliner.inline_local_functions(model) if model.functions else model
    plain = _at_opset(plain, prefix, opset)
    graph = plain.graph
    if graph.sparse_initializer:
        raise BundleError(f"graph {prefix}: expected dense initializers, got {len(graph.sparse_initializer)} sparse")
    initializers = []
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise BundleError(f"graph {prefix}: expected weights in memory, got external data of {tensor.name}")
        renamed = onnx.TensorProto()
        renamed.CopyFrom(tensor)
        renamed.name = f"{prefix}/{tensor.name}"
        initializers.append(renamed)
    weights = {tensor.name: f"{prefix}/{tensor.name}" for tensor in graph.initializer}
    domains = {each.domain: each.version for each in plain.opset_import if each.domain not in _DEFAULT_DOMAINS}
    return Inlined(model, prefix, graph, domains, initializers, weights)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the default operator set; 1 if the file names none."""
    return max((each.version for each in model.opset_import if each.domain in _DEFAULT_DOMAINS), default=1)


def _at_opset(model: onnx.ModelProto, prefix: str, opset: int) -> onnx.ModelProto:
    found = opset_of(model)
    if found == opset:
        return model
    if found > opset:
        raise BundleError(f"graph {prefix}: expected an opset of at most {opset}, got {found}")
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises whatever its C++ does
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BundleError(f"graph {prefix}: cannot convert opset {found} to {opset}: {reason}") from None


def _copied(nodes: Sequence[onnx.NodeProto], names: dict[str, str], space: str) -> list[onnx.NodeProto]:
    """Copy `nodes`; `names` maps what they may read and gains what they make."""
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for graph in subgraphs(copy):
            _rename_subgraph(graph, names, space)
        for index, name in enumerate(node.input):
            copy.input[index] = names[name] if name else ""
        for index, name in enumerate(node.output):
            copy.output[index] = names[name] = space + name if name else ""
        copy.name = space + node.name if node.name else ""
        copy.doc_string = ""
        del copy.metadata_props[:]
        copies.append(copy)
    return copies


def _rename_subgraph(graph: onnx.GraphProto, outer: Mapping[str, str], space: str) -> None:
    """Rename everything in a subgraph, in place; it may read what is around it."""
    names = dict(outer)
    for value in graph.input:
        names[value.name] = space + value.name
        value.name = names[value.name]
    for tensor in graph.initializer:
        names[tensor.name] = space + tensor.name
        tensor.name = names[tensor.name]
    nodes = _copied(graph.node, names, space)
    del graph.node[:]
    graph.node.extend(nodes)
    for output in graph.output:
        output.name = names[output.name]
    del graph.value_info[:]
