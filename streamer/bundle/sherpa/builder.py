"""Builds ONNX graphs of a bundle: nodes by name, whole models inlined, states kept in arenas.

Every method that makes a tensor returns its name. Names follow the bundle format (`streamer/bundle/manifest.py`).
Nodes must be valid from opset 13 on, because the graph takes the opset of the models it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from streamer.bundle.manifest import NUMPY_TYPES, DataType, State, Tensor
from streamer.bundle.sherpa.ancestry import ancestors
from streamer.bundle.sherpa.inline import Inlined, prepare
from streamer.bundle.sherpa.sinking import sink_weights
from streamer.errors import BundleError
from streamer.work import Array

OPSET = 17
# What ONNX Runtime 1.20 reads.
IR_VERSION = 10
# ONNX files are protobuf messages, which end at 2 GiB.
MAX_BYTES = (1 << 31) - 1
_ONNX_TYPES = {name: helper.np_dtype_to_tensor_dtype(dtype) for name, dtype in NUMPY_TYPES.items()}


@dataclass(frozen=True, slots=True)
class LoopStep:
    """What one turn of a loop leaves: `carried` to the next one, `scans` to be stacked, whether to `go_on` (bool)."""

    carried: Sequence[str]
    scans: Sequence[str] = ()
    go_on: str | None = None


@dataclass(slots=True)
class _Shared:
    """What a graph and the bodies of its loops have in common."""

    opset: int
    domains: dict[str, int] = field(default_factory=dict)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)
    models: dict[str, Inlined] = field(default_factory=dict)
    names: int = 0

    def fresh(self) -> str:
        self.names += 1
        return f"t{self.names}"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A state while its graph is built: the manifest's entry, the batch axis of its rows in the model, its reader."""

    entry: State
    axis: int
    gathered: str


class GraphBuilder:
    """Collects the nodes of one graph. `opset` is that of the default domain, at least 13; `shared` is for loops."""

    def __init__(self, opset: int = OPSET, shared: _Shared | None = None) -> None:
        self._shared = shared or _Shared(opset)
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._outputs: dict[str, onnx.ValueInfoProto] = {}
        self._kept: dict[str, _Kept] = {}
        self._written: list[str] = []
        self._spreads: dict[tuple[str, int], str] = {}
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.pools: list[str] = []
        self.groups: list[str] = []

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return self._shared.opset

    @property
    def states(self) -> tuple[State, ...]:
        """The states this graph reads, as the manifest lists them."""
        return tuple(kept.entry for kept in self._kept.values())

    @property
    def writes(self) -> tuple[str, ...]:
        """Names of the states this graph writes."""
        return tuple(self._written)

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, outputs: int | Sequence[str], domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node with `outputs` outputs, a number or their names."""
        names = [self._shared.fresh() for _ in range(outputs)] if isinstance(outputs, int) else list(outputs)
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return tuple(names)

    def constant(self, value: Array | np.generic | Sequence[int] | int) -> str:
        """Return the name of a constant; Python integers become int64, equal constants are one."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared.constants:
            name = f"c{len(self._shared.constants)}"
            self._shared.initializers.append(numpy_helper.from_array(array, name))
            self._shared.constants[key] = name
        return self._shared.constants[key]

    def cast(self, tensor: str, data_type: DataType) -> str:
        """Convert `tensor` to `data_type`."""
        return self.op("Cast", tensor, to=_ONNX_TYPES[data_type])

    def inline(self, model: onnx.ModelProto, prefix: str, inputs: Mapping[str, str] | Sequence[str]) -> list[str]:
        """Add the nodes of `model` and return the names of its outputs, in its order.

        `inputs` names a tensor for every input of the model, by name or in the model's order. Initializers are added
        once per `prefix`, however often the model is inlined. Raises `BundleError` for a model of a newer opset, or
        one that cannot be converted; `ValueError` for inputs that are not the model's or a prefix of another model.
        """
        shared = self._shared
        if prefix not in shared.models:
            shared.models[prefix] = prepared = prepare(model, prefix, shared.opset)
            shared.initializers.extend(prepared.initializers)
            for domain, version in prepared.domains.items():
                if shared.domains.setdefault(domain, version) != version:
                    expected = f"{domain} {shared.domains[domain]}"
                    raise BundleError(f"graph {prefix}: expected operators of {expected}, got version {version}")
        if shared.models[prefix].source is not model:
            raise ValueError(f"prefix {prefix} belongs to another model")
        nodes, outputs = shared.models[prefix].copy(inputs)
        self._nodes.extend(nodes)
        return outputs

    def loop(
        self, trips: str, carried: Sequence[str], body: Callable[[GraphBuilder, str, list[str]], LoopStep]
    ) -> list[str]:
        """Add a loop of at most `trips` (int64 scalar) turns; returns the last carried tensors, then stacked scans.

        `body(builder, index, carried)` builds one turn; it may use every tensor made so far.
        """
        inner = GraphBuilder(self.opset, self._shared)
        index, go_on, *inside = (self._shared.fresh() for _ in range(2 + len(carried)))
        step = body(inner, index, inside)
        if len(step.carried) != len(carried):
            raise ValueError(f"expected {len(carried)} carried tensors, got {len(step.carried)}")
        # Copies, so that no output of the body is one of its inputs, of the graph around it or listed twice.
        results = [inner.op("Identity", name) for name in (step.go_on or go_on, *step.carried, *step.scans)]
        # ONNX Runtime works out the types of what is carried, but not of these two.
        inputs = [
            helper.make_tensor_value_info(index, onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info(go_on, onnx.TensorProto.BOOL, []),
            *(helper.make_empty_tensor_value_info(name) for name in inside),
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in results]
        graph = helper.make_graph(inner._nodes, f"body_{index}", inputs, outputs)
        true = self.constant(np.array(True))
        found = self.ops("Loop", trips, true, *carried, outputs=len(results) - 1, body=graph)
        return list(found)

    def input(self, name: str, data_type: DataType, dims: Sequence[int]) -> str:
        """Declare an input whose rows have `dims`; -1 is a length that may differ from call to call."""
        self._inputs[name] = _value_info(name, data_type, ["batch", *_symbolic(name, dims)])
        self.inputs.append(Tensor(name=name, data_type=data_type, dims=tuple(dims)))
        return name

    def output(self, name: str, tensor: str, data_type: DataType, dims: Sequence[int]) -> str:
        """Declare that `tensor`, whose rows have `dims`, is the output `name`."""
        self.ops("Identity", tensor, outputs=[name])
        self._outputs[name] = _value_info(name, data_type, ["batch", *_symbolic(name, dims)])
        self.outputs.append(Tensor(name=name, data_type=data_type, dims=tuple(dims)))
        return name

    def slots(self, pool: str = "stream") -> str:
        """The input `slots_<pool>` i64[B]."""
        if pool not in self.pools:
            self.pools.append(pool)
            self._inputs[f"slots_{pool}"] = _value_info(f"slots_{pool}", "TYPE_INT64", ["batch"])
        return f"slots_{pool}"

    def start(self, group: str = "encoder") -> str:
        """The input `start_<group>` bool[B]."""
        if group not in self.groups:
            self.groups.append(group)
            self._inputs[f"start_{group}"] = _value_info(f"start_{group}", "TYPE_BOOL", ["batch"])
        return f"start_{group}"

    def state(
        self,
        name: str,
        dims: Sequence[int],
        data_type: DataType = "TYPE_FP32",
        axis: int = 0,
        initial: float | int | bool = 0,
        group: str = "encoder",
        pool: str = "stream",
    ) -> str:
        """Read a state of rows `dims` from its arena `[S, *dims]`: the initial value where its group starts.

        The batch axis of the returned tensor is `axis`, as the model wants it.
        """
        entry = State(name=name, data_type=data_type, dims=tuple(dims), initial_state=initial, pool=pool, group=group)
        self._inputs[name] = _arena_info(name, entry)
        gathered = self.op("Gather", name, self.slots(pool), axis=0)
        self._kept[name] = _Kept(entry, axis, gathered)
        start = self._spread(self.start(group), len(dims))
        rows = self.op("Where", start, self.constant(np.array(initial, entry.dtype)), gathered)
        return self._moved(rows, [*range(1, axis + 1), 0, *range(axis + 1, len(dims) + 1)])

    def write(self, name: str, rows: str) -> None:
        """Write the rows of a state back, with the batch axis where `state` put it.

        The writer runs after the arena was read, whatever `rows` come from: the arena is updated in place.
        """
        kept = self._kept[name]
        order = [kept.axis, *(axis for axis in range(len(kept.entry.dims) + 1) if axis != kept.axis)]
        updates = self._moved(rows, order)
        index = self._spread(self.slots(kept.entry.pool), 1)
        if kept.gathered not in ancestors(self._nodes, updates):
            index = self.op("Add", index, self._zero_after(kept.gathered))
        self.ops("ScatterND", name, index, updates, outputs=[f"{name}_out"])
        self._outputs[f"{name}_out"] = _arena_info(f"{name}_out", kept.entry)
        self._written.append(name)

    def model(self) -> onnx.ModelProto:
        """Return the finished graph, checked; raises `BundleError` if no single file can hold it."""
        self._shared.initializers = sink_weights(self._nodes, self._shared.initializers)
        graph = helper.make_graph(
            self._nodes,
            "streamer",
            list(self._inputs.values()),
            list(self._outputs.values()),
            self._shared.initializers,
        )
        domains = {"": self.opset, **self._shared.domains}
        imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        size = model.ByteSize()
        if size > MAX_BYTES:
            raise BundleError(f"expected a graph of at most 2 GiB, got {size / 2**30:.1f} GiB")
        onnx.checker.check_model(model)
        return model

    def _spread(self, rows: str, axes: int) -> str:
        """Give the input `rows` [B] more axes of one; once for all states."""
        if axes and (rows, axes) not in self._spreads:
            self._spreads[rows, axes] = self.op("Unsqueeze", rows, self.constant(list(range(1, axes + 1))))
        return self._spreads[rows, axes] if axes else rows

    def _moved(self, tensor: str, order: list[int]) -> str:
        return tensor if order == sorted(order) else self.op("Transpose", tensor, perm=order)

    def _zero_after(self, tensor: str) -> str:
        """An int64 zero that is not known before `tensor` is."""
        shape = self.op("Shape", tensor)
        batch = self.op("Slice", shape, self.constant([0]), self.constant([1]))
        return self.op("Sub", batch, batch)


def _value_info(name: str, data_type: DataType, dims: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _ONNX_TYPES[data_type], dims)


def _arena_info(name: str, state: State) -> onnx.ValueInfoProto:
    return _value_info(name, state.data_type, [f"slots_{state.pool}_total", *state.dims])


def _symbolic(name: str, dims: Sequence[int]) -> list[int | str]:
    return [f"{name}_length{axis}" if dim == -1 else dim for axis, dim in enumerate(dims)]
