"""Weights lie in the graph that reads them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort

from streamer.bundle.sherpa.ancestry import subgraphs
from streamer.bundle.sherpa.builder import GraphBuilder, LoopStep


def nested() -> GraphBuilder:
    """Adds one everywhere, 2 in the inner loop alone, 3 in both loops, and 5 in the outer one."""
    builder = GraphBuilder()
    start = builder.op("Add", builder.input("x", "TYPE_FP32", []), builder.constant(np.float32(1)))
    twice = builder.constant(np.array(2))

    def inner(body: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        return LoopStep([add(body, carried[0], 1, 2, 3)])

    def outer(body: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        return LoopStep(body.loop(twice, [add(body, carried[0], 1, 3, 5)], inner))

    builder.output("y", builder.loop(twice, [start], outer)[0], "TYPE_FP32", [])
    return builder


def add(builder: GraphBuilder, tensor: str, *numbers: float) -> str:
    for number in numbers:
        tensor = builder.op("Add", tensor, builder.constant(np.float32(number)))
    return tensor


def weights(graph: onnx.GraphProto) -> set[float]:
    arrays = (onnx.numpy_helper.to_array(weight) for weight in graph.initializer)
    return {float(array) for array in arrays if array.dtype == np.float32}


def test_weights_go_as_deep_as_their_only_readers() -> None:
    """What one subgraph alone reads is in it; what a graph and its subgraph read stays in the graph."""
    model = nested().model()
    (outer,) = (graph for node in model.graph.node for graph in subgraphs(node))
    (inner,) = (graph for node in outer.node for graph in subgraphs(node))
    assert [weights(graph) for graph in (model.graph, outer, inner)] == [{1}, {3, 5}, {2}]


def test_the_result_is_the_same() -> None:
    """The graph computes what it says, and may be built again."""
    builder = nested()
    first, second = builder.model(), builder.model()
    assert first == second
    session = ort.InferenceSession(first.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.array([10], np.float32)})
    assert found.tolist() == [10 + 1 + 2 * (9 + 2 * 6)]
