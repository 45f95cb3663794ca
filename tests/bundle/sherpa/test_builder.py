"""Graphs are put together from nodes, whole models and arenas, and compute what their parts compute."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from streamer.bundle.sherpa.ancestry import all_nodes, ancestors
from streamer.bundle.sherpa.builder import GraphBuilder, LoopStep
from streamer.errors import BundleError

F32 = TensorProto.FLOAT


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options)


def affine(opset: int = 17, scale: float = 2.0) -> onnx.ModelProto:
    """y = scale * x + 1, z = x; with names that a careless copy would mix up."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "scale"], ["t1"], name="node"),
            helper.make_node("Add", ["t1", "c0"], ["y"]),
            helper.make_node("Identity", ["x"], ["z"]),
        ],
        "affine",
        [helper.make_tensor_value_info("x", F32, ["N", 2])],
        [helper.make_tensor_value_info(name, F32, ["N", 2]) for name in "yz"],
        [numpy_helper.from_array(np.float32(scale), "scale"), numpy_helper.from_array(np.float32(1), "c0")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def arm(kind: str, *inputs: str) -> onnx.GraphProto:
    """A branch of one node; it has a weight of its own where it reads `w`."""
    weights = [numpy_helper.from_array(np.float32(1), "w")] if "w" in inputs else []
    output = helper.make_tensor_value_info("inner", F32, ["N", 2])
    return helper.make_graph([helper.make_node(kind, list(inputs), ["inner"])], kind, [], [output], weights)


def branch(no: onnx.GraphProto, yes: onnx.GraphProto, opset: int = 17) -> onnx.ModelProto:
    """y is `yes` where flag, else `no`; both branches read x from around them and use the same inner names."""
    graph = helper.make_graph(
        [helper.make_node("If", ["flag"], ["y"], then_branch=yes, else_branch=no)],
        "branch",
        [
            helper.make_tensor_value_info("x", F32, ["N", 2]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", F32, ["N", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


def test_inlined_twice() -> None:
    """A model may be inlined several times; its weights are in the graph once, and all its outputs are there."""
    builder, model = GraphBuilder(), affine()
    x = builder.input("x", "TYPE_FP32", [2])
    once, _ = builder.inline(model, "part", [x])
    twice, same = builder.inline(model, "part", {"x": once})
    builder.output("y", twice, "TYPE_FP32", [2])
    builder.output("z", same, "TYPE_FP32", [2])
    built = builder.model()
    found = session(built).run(None, {"x": np.float32([[1, 2], [3, 4]])})
    np.testing.assert_array_equal(found, [[[7, 11], [15, 19]], [[3, 5], [7, 9]]])
    assert sorted(tensor.name for tensor in built.graph.initializer) == ["part/c0", "part/scale"]


def test_models_with_equal_names() -> None:
    """Two models whose tensors are called the same keep to themselves."""
    builder = GraphBuilder()
    x = builder.input("x", "TYPE_FP32", [2])
    y, _ = builder.inline(affine(scale=2), "one", [x])
    z, _ = builder.inline(affine(scale=3), "two", [y])
    builder.output("y", z, "TYPE_FP32", [2])
    np.testing.assert_array_equal(session(builder.model()).run(None, {"x": np.float32([[1, 2]])})[0], [[10, 16]])


def test_subgraphs_are_renamed() -> None:
    """Branches read what is around them under its new name, in every copy."""
    builder, model = GraphBuilder(), branch(arm("Neg", "x"), arm("Add", "x", "w"))
    x = builder.input("x", "TYPE_FP32", [2])
    true, false = builder.constant(np.array(True)), builder.constant(np.array(False))
    [once] = builder.inline(model, "part", [x, true])
    [twice] = builder.inline(model, "part", [once, false])
    builder.output("y", twice, "TYPE_FP32", [2])
    np.testing.assert_array_equal(session(builder.model()).run(None, {"x": np.float32([[1, 2]])})[0], [[-2, -3]])


def test_old_models_are_converted() -> None:
    """A model of opset 11 runs as it did; one newer than the graph is refused."""
    graph = helper.make_graph(
        [helper.make_node("Squeeze", ["x"], ["t"], axes=[2]), helper.make_node("LogSoftmax", ["t"], ["y"], axis=1)],
        "old",
        [helper.make_tensor_value_info("x", F32, ["N", 3, 1])],
        [helper.make_tensor_value_info("y", F32, ["N", 3])],
    )
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    x = np.float32([[[1], [2], [4]]])
    expected = session(old).run(None, {"x": x})[0]
    builder = GraphBuilder(opset=13)
    builder.output("y", builder.inline(old, "old", [builder.input("x", "TYPE_FP32", [3, 1])])[0], "TYPE_FP32", [3])
    np.testing.assert_allclose(session(builder.model()).run(None, {"x": x})[0], expected, atol=1e-6)
    with pytest.raises(BundleError, match="^graph new: expected an opset of at most 13, got 17$"):
        builder.inline(affine(), "new", ["x"])


def test_old_subgraphs_are_converted() -> None:
    """Branches of a model of opset 11 are converted with it."""
    nodes = [
        helper.make_node("Unsqueeze", ["x"], ["t"], axes=[0]),
        helper.make_node("ReduceSum", ["t"], ["inner"], axes=[0], keepdims=0),
    ]
    yes = helper.make_graph(nodes, "yes", [], [helper.make_tensor_value_info("inner", F32, ["N", 2])])
    old = branch(arm("Neg", "x"), yes, opset=11)
    builder = GraphBuilder(opset=13)
    x = builder.input("x", "TYPE_FP32", [2])
    [y] = builder.inline(old, "old", [x, builder.constant(np.array(True))])
    builder.output("y", y, "TYPE_FP32", [2])
    np.testing.assert_array_equal(session(builder.model()).run(None, {"x": np.float32([[1, 2]])})[0], [[1, 2]])


def test_old_initializers_among_inputs() -> None:
    """Old files list initializers among their inputs; those are not asked for."""
    model = affine()
    model.graph.input.append(helper.make_tensor_value_info("scale", F32, []))
    builder = GraphBuilder()
    y, _ = builder.inline(model, "part", [builder.input("x", "TYPE_FP32", [2])])
    builder.output("y", y, "TYPE_FP32", [2])
    np.testing.assert_array_equal(session(builder.model()).run(None, {"x": np.float32([[1, 2]])})[0], [[3, 5]])


def test_functions_are_inlined() -> None:
    """Functions local to a model become nodes."""
    square = helper.make_function(
        "own", "Square", ["a"], ["b"], [helper.make_node("Mul", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [helper.make_node("Square", ["x"], ["y"], domain="own")],
        "functions",
        [helper.make_tensor_value_info("x", F32, ["N", 2])],
        [helper.make_tensor_value_info("y", F32, ["N", 2])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[square], ir_version=8)
    builder = GraphBuilder()
    [y] = builder.inline(model, "part", [builder.input("x", "TYPE_FP32", [2])])
    builder.output("y", y, "TYPE_FP32", [2])
    np.testing.assert_array_equal(session(builder.model()).run(None, {"x": np.float32([[3, 4]])})[0], [[9, 16]])


def test_misuse_of_inline() -> None:
    """Inputs that are not the model's, and a prefix that names another model, are errors of the caller."""
    builder, model = GraphBuilder(), affine()
    x = builder.input("x", "TYPE_FP32", [2])
    for wrong in ([], [x, x], {"y": x}):
        with pytest.raises(ValueError, match=r"^graph part: expected inputs \['x'\], got "):
            builder.inline(model, "part", wrong)
    with pytest.raises(ValueError, match="^prefix part belongs to another model$"):
        builder.inline(affine(), "part", [x])
    with pytest.raises(ValueError, match="^expected a prefix of "):
        builder.inline(model, "a/b", [x])


def test_external_weights_are_refused() -> None:
    """Weights that were not read with the model cannot become part of one file."""
    model = affine()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(BundleError, match="^graph part: expected weights in memory, got external data of scale$"):
        GraphBuilder().inline(model, "part", ["x"])


def test_loops_of_models_are_renamed() -> None:
    """The body of a model's loop keeps its own inputs and reads weights and tensors from around it."""
    counter = [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("total", F32, ["N", 2]),
    ]
    nodes = [helper.make_node("Add", ["total", "step"], ["more"]), helper.make_node("Identity", ["go_on"], ["again"])]
    outputs = [
        helper.make_tensor_value_info("again", TensorProto.BOOL, []),
        helper.make_tensor_value_info("more", F32, ["N", 2]),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["step"]),
            helper.make_node("Loop", ["trips", ""], ["y"], body=helper.make_graph(nodes, "body", counter, outputs)),
        ],
        "loop",
        [helper.make_tensor_value_info("x", F32, ["N", 2])],
        [helper.make_tensor_value_info("y", F32, ["N", 2])],
        [numpy_helper.from_array(np.array(3), "trips"), numpy_helper.from_array(np.float32(2), "two")],
    )
    graph.node[1].input.append("x")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    builder = GraphBuilder()
    [once] = builder.inline(model, "part", [builder.input("x", "TYPE_FP32", [2])])
    [twice] = builder.inline(model, "part", [once])
    builder.output("y", twice, "TYPE_FP32", [2])
    np.testing.assert_array_equal(session(builder.model()).run(None, {"x": np.float32([[1, 2]])})[0], [[49, 98]])
    read = ancestors(graph.node, "y")
    assert {"x", "two", "trips", "step"} <= read
    assert "Add" in [node.op_type for node in all_nodes(graph.node)]


def test_what_cannot_be_inlined() -> None:
    """Sparse weights, nodes that no version converts and operators of two versions are refused."""
    sparse = affine()
    values = numpy_helper.from_array(np.float32([1]), "values")
    index = numpy_helper.from_array(np.array([0]), "index")
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(values, index, [2]))
    with pytest.raises(BundleError, match="^graph part: expected dense initializers, got 1 sparse$"):
        GraphBuilder().inline(sparse, "part", ["x"])
    unknown = affine(opset=13)
    unknown.graph.node[0].op_type = "Unheard"
    with pytest.raises(BundleError, match="^graph part: cannot convert opset 13 to 17: "):
        GraphBuilder().inline(unknown, "part", ["x"])
    one, two = affine(), affine()
    one.opset_import.append(helper.make_opsetid("own", 1))
    two.opset_import.append(helper.make_opsetid("own", 2))
    builder = GraphBuilder()
    x = builder.input("x", "TYPE_FP32", [2])
    builder.inline(one, "one", [x])
    with pytest.raises(BundleError, match="^graph two: expected operators of own 1, got version 2$"):
        builder.inline(two, "two", [x])


def test_uneven_loop() -> None:
    """A body that loses what it carries is an error of the caller."""
    builder = GraphBuilder()
    x = builder.input("x", "TYPE_FP32", [2])
    with pytest.raises(ValueError, match="^expected 1 carried tensors, got 0$"):
        builder.loop(builder.constant(np.array(1)), [x], lambda inner, index, carried: LoopStep([]))


@pytest.mark.parametrize("limit", [1, 5])
def test_loop(limit: int) -> None:
    """A loop stops after its trips or when told, carries tensors, stacks scans and may use inlined models."""
    builder, model = GraphBuilder(), affine()
    x = builder.input("x", "TYPE_FP32", [2])
    most = builder.constant(np.float32(20))

    def body(inner: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        after, before = inner.inline(model, "part", carried)
        peak = inner.op("ReduceMax", after, keepdims=0)
        return LoopStep([after], [before], go_on=inner.op("Less", peak, most))

    last, stacked = builder.loop(builder.constant(np.array(limit)), [x], body)
    builder.output("last", last, "TYPE_FP32", [2])
    builder.output("stacked", builder.op("Transpose", stacked, perm=[1, 0, 2]), "TYPE_FP32", [-1, 2])
    last_found, scans = session(builder.model()).run(None, {"x": np.float32([[1, 3]])})
    expected = [np.float32([1, 3])]
    while len(expected) <= limit and expected[-1].max() < 20:
        expected.append(2 * expected[-1] + 1)
    np.testing.assert_array_equal(last_found, [expected[-1]])
    np.testing.assert_array_equal(scans[0], np.reshape(expected[:-1], (-1, 2)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_state_in_an_arena(axis: int) -> None:
    """Rows come from their slots with the batch axis where the model wants it, start anew, and only they change."""
    builder = GraphBuilder()
    rows = builder.state("memory", (2, 3), axis=axis, initial=7)
    builder.output("seen", builder.op("Identity", rows), "TYPE_FP32", [-1, -1])
    builder.write("memory", builder.op("Add", rows, builder.constant(np.float32(1))))
    built = builder.model()
    arena = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    feeds = {"memory": arena, "slots_stream": np.array([3, 0, 2]), "start_encoder": np.array([False, True, False])}
    seen, after = session(built).run(["seen", "memory_out"], feeds)
    expected = np.stack([arena[3], np.full((2, 3), 7), arena[2]])
    np.testing.assert_array_equal(np.moveaxis(seen, axis, 0), expected)
    np.testing.assert_array_equal(after[[3, 0, 2]], expected + 1)
    np.testing.assert_array_equal(after[1], arena[1])
    [entry] = builder.states
    assert (entry.name, entry.dims, entry.initial_state, entry.pool, entry.group) == (
        *("memory", (2, 3), 7),
        *("stream", "encoder"),
    )
    assert builder.writes == ("memory",)


def test_scalar_state() -> None:
    """A state without dimensions is one number per stream."""
    builder = GraphBuilder()
    rows = builder.state("count", (), "TYPE_INT64", initial=-1, group="search")
    builder.output("before", rows, "TYPE_INT64", [])
    builder.write("count", builder.op("Add", rows, builder.constant(1)))
    feeds = {"count": np.array([5, 6, 7]), "slots_stream": np.array([2, 0]), "start_search": np.array([False, True])}
    before, after = session(builder.model()).run(None, feeds)
    assert (before.tolist(), after.tolist()) == ([7, -1], [0, 6, 8])


def test_writer_waits_for_the_reader() -> None:
    """An arena is written after it was read even if what is written does not depend on what was read."""
    builder = GraphBuilder()
    x = builder.input("x", "TYPE_FP32", [2])
    rows = builder.state("memory", (2,))
    builder.output("before", rows, "TYPE_FP32", [2])
    builder.write("memory", x)
    graph = builder.model().graph
    reader = next(node for node in graph.node if node.op_type == "Gather")
    assert reader.output[0] in ancestors(graph.node, "memory_out")


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one file cannot hold is refused with its size."""
    monkeypatch.setattr("streamer.bundle.sherpa.builder.MAX_BYTES", 100)
    builder = GraphBuilder()
    builder.output("y", builder.constant(np.zeros(99)), "TYPE_FP64", [])
    with pytest.raises(BundleError, match=r"^expected a graph of at most 2 GiB, got 0\.0 GiB$"):
        builder.model()
