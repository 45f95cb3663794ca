"""Compares the inputs and outputs of a file with what its type and metadata call for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from streamer.bundle.manifest import NUMPY_TYPES, DataType
from streamer.bundle.sherpa.source import Model
from streamer.errors import BundleError

Dim = int | Literal["N"] | None


@dataclass(frozen=True, slots=True)
class Expected:
    """One input or output: `dims` are lengths, "N" for the batch and None for a length that is free."""

    what: str
    dims: tuple[Dim, ...]
    data_type: DataType = "TYPE_FP32"


def check_signature(model: Model, inputs: Sequence[Expected], outputs: Sequence[Expected]) -> int | None:
    """Check counts, types and static lengths; more outputs than expected may follow, which are ignored.

    Returns 1 if the model takes batches of one alone, else None; raises `BundleError` naming file and tensor.
    """
    if len(model.inputs) != len(inputs):
        raise BundleError(f"{model.file}: expected {len(inputs)} inputs{_listed(inputs)}, got {len(model.inputs)}")
    if len(model.outputs) < len(outputs):
        raise BundleError(f"{model.file}: expected {len(outputs)} outputs{_listed(outputs)}, got {len(model.outputs)}")
    batches = set()
    for side, found, wanted in (("input", model.inputs, inputs), ("output", model.outputs, outputs)):
        for index, (value, expected) in enumerate(zip(found, wanted, strict=False)):
            where = f"{model.file}: {side} {index} {value.name} ({expected.what})"
            batches |= _compare(where, value, expected)
            if batches - {1}:
                raise BundleError(f"{where}: expected a batch that is free or 1, got {max(batches)}")
    return 1 if batches else None


def static_dim(value: onnx.ValueInfoProto, axis: int) -> int | None:
    """Return a length of an input or output, None if it is free or unknown."""
    dims = _dims(value)
    return dims[axis] if dims and -len(dims) <= axis < len(dims) else None


def _compare(where: str, value: onnx.ValueInfoProto, expected: Expected) -> set[int]:
    """Return the static lengths of the batch axis."""
    wanted = onnx.helper.np_dtype_to_tensor_dtype(NUMPY_TYPES[expected.data_type])
    found = value.type.tensor_type.elem_type
    if found != wanted:
        raise BundleError(f"{where}: expected {_type_name(wanted)}, got {_type_name(found)}")
    dims = _dims(value)
    if dims is None:
        return set()
    same = len(dims) == len(expected.dims) and all(
        got is None or not isinstance(dim, int) or got == dim for got, dim in zip(dims, expected.dims, strict=True)
    )
    if not same:
        raise BundleError(f"{where}: expected shape {_shown(expected.dims)}, got {_shown(dims)}")
    return {got for got, dim in zip(dims, expected.dims, strict=True) if dim == "N" and got is not None}


def _dims(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)


def _listed(expected: Sequence[Expected]) -> str:
    names = [each.what for each in expected]
    return f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"


def _type_name(elem_type: int) -> str:
    return onnx.TensorProto.DataType.Name(elem_type).lower()


def _shown(dims: Sequence[Dim]) -> str:
    return "[" + ", ".join("free" if dim is None else str(dim) for dim in dims) + "]"
