"""A few lines over onnx.helper: nodes by name, constants on the fly, arenas gathered, reset and scattered."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 18
IR_VERSION = 9

ONNX_TYPES = {
    "TYPE_FP32": onnx.TensorProto.FLOAT,
    "TYPE_INT32": onnx.TensorProto.INT32,
    "TYPE_INT64": onnx.TensorProto.INT64,
    "TYPE_BOOL": onnx.TensorProto.BOOL,
}


class GraphBuilder:
    """Collects nodes of one ONNX graph; every method returns the name of the tensor it made."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def op(self, kind: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        name = to or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def cast(self, tensor: str, data_type: str) -> str:
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node("Cast", [tensor], [name], to=ONNX_TYPES[data_type]))
        return name

    def floats(self, value: Any) -> str:
        return self.constant(value, np.float32)

    def ints(self, value: Any) -> str:
        return self.constant(value, np.int64)

    def input(self, name: str, data_type: str, dims: list[int | str]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[data_type], dims))
        return name

    def output(self, name: str, data_type: str, dims: list[int | str]) -> str:
        self._outputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[data_type], dims))
        return name

    def row_input(self, name: str, data_type: str, dims: tuple[int, ...]) -> str:
        """Declare an input whose rows have `dims`; -1 becomes a symbolic length of its own."""
        return self.input(name, data_type, ["batch", *_symbolic(name, dims)])

    def row_output(self, tensor: str, name: str, data_type: str, dims: tuple[int, ...]) -> str:
        """Declare that `tensor` is the output `name`."""
        self.op("Identity", tensor, to=name)
        return self.output(name, data_type, ["batch", *_symbolic(name, dims)])

    def slots(self, pool: str) -> str:
        return self.input(f"slots_{pool}", "TYPE_INT64", ["batch"])

    def start(self, group: str) -> str:
        return self.input(f"start_{group}", "TYPE_BOOL", ["batch"])

    def arena(self, state: str, data_type: str, dims: tuple[int, ...]) -> str:
        return self.input(state, data_type, ["slots_total", *dims])

    def gather(self, arena: str, slots: str, start: str | None = None, initial: Any = 0, dtype: Any = None) -> str:
        """Rows of an arena of one-dimensional states, with the initial value where the group starts."""
        rows = self.op("Gather", arena, slots, axis=0)
        if start is None:
            return rows
        mask = self.op("Unsqueeze", start, self.ints([1]))
        return self.op("Where", mask, self.constant(initial, dtype or np.float32), rows)

    def scatter(self, arena: str, slots: str, rows: str, data_type: str, dims: tuple[int, ...]) -> str:
        """Write rows back; the result is the output `<arena>_out`."""
        index = self.op("Unsqueeze", slots, self.ints([1]))
        self.op("ScatterND", arena, index, rows, to=f"{arena}_out")
        return self.output(f"{arena}_out", data_type, ["slots_total", *dims])

    def model(self) -> bytes:
        """Check the graph and return it as the bytes of an ONNX file."""
        graph = helper.make_graph(self._nodes, "toy", self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model.SerializeToString()


def _symbolic(name: str, dims: tuple[int, ...]) -> list[int | str]:
    return [f"{name}_length{axis}" if dim == -1 else dim for axis, dim in enumerate(dims)]
