"""Export of a slotted graph to ONNX: dynamic batch and slots, small weights in float16, safe to run in place."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from torch import Tensor

from models.common.slots import SlottedGraph
from models.common.table_matrix import TableMatrix

OPSET = 20
# Endings of the names of initializers: kept as float16, and kept as the transpose of the parameter.
HALF, TRANSPOSED = "_half", "_transposed"
# Below this size a tensor stays float32: biases and norms weigh little and feel rounding most.
_HALF_FROM_ELEMENTS = 4096
# What may be done to an arena: nothing here takes longer for more slots.
_PARTIAL = ("Gather", "GatherND", "ScatterND", "Shape")

FreeLengths = Mapping[str, Sequence[str]]
"""By input or output: the names of its leading `dims` that are free; equal names are equal lengths."""


def round_weights(module: torch.nn.Module) -> None:
    """Round the matrices of `module` to float16 values in place, as `store_halves` will store them."""
    for parameter in module.parameters():
        if parameter.numel() >= _HALF_FROM_ELEMENTS:
            parameter.data = parameter.data.half().float()


def read_weights(path: Path, prefix: str) -> dict[str, Tensor]:
    """Read parameters and buffers back from an exported graph: those named `prefix` and more, without the prefix."""
    weights = {}
    for tensor in onnx.load(path).graph.initializer:
        name = tensor.name.removesuffix(HALF)
        values = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        if name.startswith(prefix):
            plain = name.removesuffix(TRANSPOSED)
            values = values.T if name != plain else values
            weights[plain.removeprefix(prefix)] = values.float().contiguous()
    return weights


def export_graph(
    graph: SlottedGraph,
    inputs: Sequence[Tensor],
    path: Path,
    taps: Sequence[str] = (),
    free: FreeLengths = MappingProxyType({}),
    tables: Mapping[str, TableMatrix] = MappingProxyType({}),
) -> onnx.ModelProto:
    """Trace `graph` with example `inputs` `[B >= 2, *dims]` and write the model, safe to run in place.

    `taps` are values of the step that keep their names inside the model without being outputs; constants called as in
    `tables` are stored as what gives them. Raises `ValueError` if
    a state is not written by a scatter into its own arena, if an arena is read whole, or if a tap is not there.
    """
    read_only = {state.name for state in graph.states} - {state.name for state in graph.written}
    graph = SlottedGraph(graph.step, graph.inputs, (*graph.outputs, *taps), graph.states, read_only)
    batch, slots = inputs[0].shape[0], inputs[0].shape[0] + 2
    arguments = (
        # The tracer takes one tensor that is given twice for one input.
        [rows.clone() for rows in inputs],
        [torch.arange(1, batch + 1) for _ in graph.pools],
        [torch.zeros(batch, dtype=torch.bool) for _ in graph.groups],
        graph.initial_arenas(slots),
    )
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer's own deprecations and its remarks on shared axis names; nothing about the graph.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.eval(), arguments, dynamo=True, verbose=False, optimize=True, opset_version=OPSET,
            input_names=graph.input_names, output_names=graph.output_names,
            dynamic_shapes=_dynamic_shapes(graph, arguments, free),
        )  # fmt: skip
    model = program.model_proto
    _drop_debris(model)
    _hide(model, taps)
    name_weights(model, graph)
    share_transposed(model)
    for name, table in tables.items():
        table.replace(model, name)
    store_halves(model)
    require_partial_reads(model, [state.name for state in graph.states])
    order_writers(model, [state.name for state in graph.written])
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return model


def _dynamic_shapes(
    graph: SlottedGraph, arguments: Sequence[Sequence[Tensor]], free: FreeLengths
) -> tuple[list[dict[int, Any]], ...]:
    batch = torch.export.Dim("batch", min=1, max=4096)
    slots = torch.export.Dim("slots", min=2, max=1 << 20)
    shapes = tuple([{0: slots if i == 3 else batch} for _ in part] for i, part in enumerate(arguments))
    lengths = {name: torch.export.Dim(name, min=1, max=1 << 20) for names in free.values() for name in names}
    for name, axes in zip(graph.inputs, shapes[0], strict=True):
        axes.update({axis: lengths[length] for axis, length in enumerate(free.get(name, ()), start=1)})
    return shapes


def _drop_debris(model: onnx.ModelProto) -> None:
    """Remove the tracer's metadata: it names source files of the machine that exported."""
    del model.metadata_props[:]
    model.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""


def _hide(model: onnx.ModelProto, taps: Sequence[str]) -> None:
    """Make outputs inner values of the same names."""
    for tap in taps:
        found = [output for output in model.graph.output if output.name == tap]
        if not found or not any(tap in node.output for node in model.graph.node):
            raise ValueError(f"expected a value called {tap}, got none")
        model.graph.output.remove(found[0])
        model.graph.value_info.append(found[0])


def name_weights(model: onnx.ModelProto, module: torch.nn.Module) -> None:
    """Give folded initializers the names of the parameters they hold, so that a bundle can be trained on.

    The tracer turns a linear layer's weight into an anonymous transposed constant; it becomes `<name>_transposed`.
    """
    known = {name: parameter.detach().numpy() for name, parameter in module.named_parameters() if parameter.dim() == 2}
    renamed = {}
    for tensor in model.graph.initializer:
        if tensor.name in known or tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        for name, weight in known.items():
            if weight.T.shape == values.shape and _equal(weight.T, values):
                renamed[tensor.name] = f"{name}{TRANSPOSED}"
                tensor.name = renamed[tensor.name]
                # Another of equal values, as zeros are, has a name of its own.
                del known[name]
                break
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    # The first row tells nearly always: a large model has hundreds of matrices of one shape.
    return np.array_equal(one[0], other[0]) and np.array_equal(one, other)


def share_transposed(model: onnx.ModelProto) -> None:
    """Keep a weight that is used both ways, as tied embeddings are, once: ONNX Runtime transposes it at load."""
    graph, names = model.graph, {tensor.name for tensor in model.graph.initializer}
    twice = [tensor for tensor in graph.initializer if tensor.name.removesuffix(TRANSPOSED) in names - {tensor.name}]
    for tensor in twice:
        plain = tensor.name.removesuffix(TRANSPOSED)
        graph.node.insert(0, onnx.helper.make_node("Transpose", [plain], [tensor.name], perm=[1, 0]))
        graph.initializer.remove(tensor)


def store_halves(model: onnx.ModelProto) -> None:
    """Keep large float32 initializers as float16 with a cast that ONNX Runtime folds at load, where nothing is lost."""
    graph, casts = model.graph, []
    for i, tensor in enumerate(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.size < _HALF_FROM_ELEMENTS or not np.array_equal(values, values.astype(np.float16)):
            continue
        name = tensor.name
        graph.initializer[i].CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), name + HALF))
        casts.append(onnx.helper.make_node("Cast", [name + HALF], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def require_partial_reads(model: onnx.ModelProto, states: Sequence[str]) -> None:
    """Raise `ValueError` if a node reads an arena whole: every stream's state would be copied for each step."""
    for node in model.graph.node:
        for state in set(node.input) & set(states):
            if node.op_type not in _PARTIAL:
                raise ValueError(f"state {state}: expected {', '.join(_PARTIAL)} of the arena, got {node.op_type}")


def order_writers(model: onnx.ModelProto, states: Sequence[str]) -> None:
    """Make every reader of an arena an ancestor of its writer, so that the arena may be updated in place.

    The arena's buffer is overwritten when its writer runs; a reader that is not an ancestor might run later. Where one
    is not, the writer's indices get a zero made of the reader's shape: nothing is computed, but the order is fixed.
    Raises `ValueError` for a state whose output is not a scatter into its own arena.
    """
    for state in states:
        producer = {output: node for node in model.graph.node for output in node.output}
        writer = _writer(producer, state)
        ancestors = _ancestors(producer, writer)
        for node in list(model.graph.node):
            if state in node.input and node is not writer and node.output[0] not in ancestors:
                _run_after(model.graph, writer, node)


def _run_after(graph: onnx.GraphProto, writer: onnx.NodeProto, reader: onnx.NodeProto) -> None:
    """Order `writer` after `reader` by adding (batch - batch) of the reader's output to the writer's indices."""
    name = f"{writer.output[0]}_after_{reader.output[0]}"
    nodes = [
        onnx.helper.make_node("Shape", [reader.output[0]], [f"{name}_batch"], start=0, end=1),
        onnx.helper.make_node("Sub", [f"{name}_batch"] * 2, [f"{name}_zero"]),
        onnx.helper.make_node("Add", [writer.input[1], f"{name}_zero"], [f"{name}_indices"]),
    ]
    writer.input[1] = f"{name}_indices"
    # The writer may stand before the reader in the list: it goes to the end of it, which is still a valid order
    # because nothing but outputs and identities follow an arena's writer.
    moved = onnx.NodeProto()
    moved.CopyFrom(writer)
    followers = [node for node in graph.node if node.op_type == "Identity" and writer.output[0] in node.input]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in followers]
    for node in (writer, *followers):
        graph.node.remove(node)
    graph.node.extend([*nodes, moved, *copies])


def _writer(producer: dict[str, onnx.NodeProto], state: str) -> onnx.NodeProto:
    node = producer[f"{state}_out"]
    while node.op_type == "Identity":
        node = producer[node.input[0]]
    if node.op_type != "ScatterND" or node.input[0] != state:
        raise ValueError(f"state {state}: expected ScatterND on the arena itself, got {node.op_type}")
    return node


def _ancestors(producer: dict[str, onnx.NodeProto], node: onnx.NodeProto) -> set[str]:
    found: set[str] = set()
    todo = list(node.input)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        if name in producer:
            todo.extend(producer[name].input)
    return found
