"""Which tensors a tensor is made of, through nodes and their subgraphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx


def ancestors(nodes: Sequence[onnx.NodeProto], tensor: str) -> set[str]:
    """Return the names of everything `tensor` depends on, itself included."""
    producer = {output: node for node in nodes for output in node.output}
    found: set[str] = set()
    todo = [tensor]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            if name in producer:
                todo.extend(used_names(producer[name]))
    return found


def used_names(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names `node` reads, those of its subgraphs included (also the ones that are their own)."""
    yield from node.input
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from used_names(inner)
        yield from (output.name for output in graph.output)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs among the attributes of `node`, as of `If`, `Loop` and `Scan`."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield `nodes` and those of their subgraphs, at any depth."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)
