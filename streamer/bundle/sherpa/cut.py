"""Cuts a part out of an ONNX graph, and sews new nodes around it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from streamer.bundle.sherpa.ancestry import used_names
from streamer.work import Array

# What the names of a part begin with, so that new nodes can take any other.
PREFIX = "model."


@dataclass(frozen=True, slots=True)
class Part:
    """Some nodes of a model, in its order; `needs` names the tensors they read that none of them makes."""

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    needs: frozenset[str]


def cut(model: onnx.ModelProto, sources: Collection[str], targets: Iterable[str]) -> Part:
    """Take the nodes that compute `targets`, going back no further than `sources`; weights go with them."""
    producer = {output: index for index, node in enumerate(model.graph.node) for output in node.output if output}
    wanted: set[int] = set()
    seen = set(sources)
    todo = list(targets)
    while todo:
        name = todo.pop()
        if name not in seen and name in producer:
            wanted.add(producer[name])
            todo.extend(used_names(model.graph.node[producer[name]]))
        seen.add(name)
    nodes = tuple(model.graph.node[index] for index in sorted(wanted))
    made = {output for node in nodes for output in node.output}
    # Names of a subgraph's own tensors are none of the whole graph's.
    outer = {value.name for value in model.graph.input} | producer.keys()
    needs = {name for node in nodes for name in used_names(node)} & outer - made
    return Part(model, nodes, frozenset(needs))


class Seam:
    """A new graph around a part: every method that makes a tensor returns its name."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._before: list[onnx.NodeProto] = []
        self._after: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._fed = False

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, before the part until `feed` was called and after it from then on."""
        return self.ops(kind, *inputs, names=[name or self._fresh()], **attributes)[0]

    def ops(self, kind: str, *inputs: str, names: Sequence[str], **attributes: Any) -> Sequence[str]:
        """Add a node with the outputs `names`."""
        nodes = self._after if self._fed else self._before
        nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
        return names

    def constant(self, value: Array | np.generic | Sequence[int] | int) -> str:
        """Add a constant; Python integers become int64."""
        name = f"constant.{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def feed(self, tensors: Mapping[str, str]) -> None:
        """Name the tensor that stands for each source and input of the part."""
        for name, tensor in tensors.items():
            self.op("Identity", tensor, name=PREFIX + name)
        self._fed = True

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[tuple[onnx.ValueInfoProto, str]],
        metadata: Mapping[str, object],
    ) -> onnx.ModelProto:
        """Return the whole as a checked model; an output is what it looks like and the tensor it is."""
        for value, tensor in outputs:
            self.op("Identity", tensor, name=value.name)
        source = compose.add_prefix(_only(self._part), PREFIX)
        graph = helper.make_graph(
            [*self._before, *source.graph.node, *self._after],
            "sherpa",
            list(inputs),
            [value for value, _ in outputs],
            [*source.graph.initializer, *self._constants],
        )
        model = helper.make_model(
            graph, opset_imports=source.opset_import, functions=source.functions, ir_version=source.ir_version
        )
        helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
        onnx.checker.check_model(model)
        return model

    def _fresh(self) -> str:
        return f"tensor.{len(self._before) + len(self._after)}"


def _only(part: Part) -> onnx.ModelProto:
    """Return a model of the nodes and weights of `part` alone; what it needs are inputs without a type."""
    used = {name for node in part.nodes for name in used_names(node)}
    weights = [tensor for tensor in part.model.graph.initializer if tensor.name in used]
    inputs = [helper.make_empty_tensor_value_info(name) for name in sorted(part.needs)]
    return helper.make_model(
        helper.make_graph(list(part.nodes), "part", inputs, [], weights),
        opset_imports=part.model.opset_import,
        functions=part.model.functions,
        ir_version=part.model.ir_version,
    )
