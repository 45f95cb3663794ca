"""Moves weights into the subgraphs that alone read them.

ONNX Runtime packs the weights of a node when it opens a model, but not those that lie two graphs further out: a
predictor in a loop within a loop ran half as fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from streamer.bundle.sherpa.ancestry import subgraphs, used_names


def sink_weights(nodes: Sequence[onnx.NodeProto], weights: Iterable[onnx.TensorProto]) -> list[onnx.TensorProto]:
    """Move `weights` of a graph of `nodes` as deep as they can go; returns those that stay in the graph itself."""
    inner = [graph for node in nodes for graph in subgraphs(node)]
    own = {name for node in nodes for name in node.input}
    readers: dict[str, list[int]] = {}
    for index, graph in enumerate(inner):
        for name in _names(graph):
            readers.setdefault(name, []).append(index)
    staying: list[onnx.TensorProto] = []
    sinking: dict[int, list[onnx.TensorProto]] = {}
    for weight in weights:
        places = readers.get(weight.name, [])
        if weight.name in own or len(places) != 1:
            staying.append(weight)
        else:
            sinking.setdefault(places[0], []).append(weight)
    for index, sunk in sinking.items():
        inner[index].initializer.extend(sink_weights(inner[index].node, sunk))
    return staying


def _names(graph: onnx.GraphProto) -> set[str]:
    """Names that a subgraph reads, at any depth, or returns."""
    return {name for node in graph.node for name in used_names(node)} | {value.name for value in graph.output}
