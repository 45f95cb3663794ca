"""Checks what an ONNX file takes and returns against what its type says; inputs and outputs count by their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime as ort

from streamer.bundle.manifest import DataType
from streamer.bundle.sherpa.source import Model
from streamer.errors import BundleError
from streamer.work import Array

BATCH = -1
FREE = -2
_TYPES: Mapping[int, DataType] = {
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.FLOAT16: "TYPE_FP16",
    onnx.TensorProto.INT64: "TYPE_INT64",
    onnx.TensorProto.INT32: "TYPE_INT32",
    onnx.TensorProto.BOOL: "TYPE_BOOL",
}
# Exporters differ about the type of lengths and tokens.
INTEGERS: tuple[DataType, ...] = ("TYPE_INT64", "TYPE_INT32")


def check_counts(model: Model, inputs: int, outputs: int) -> None:
    """Check that `model` takes exactly `inputs` tensors and returns at least `outputs`; raises `BundleError`."""
    if len(model.inputs) != inputs:
        names = ", ".join(value.name for value in model.inputs)
        raise BundleError(f"{model.file}: expected {inputs} inputs, got {len(model.inputs)}: {names}")
    if len(model.outputs) < outputs:
        names = ", ".join(value.name for value in model.outputs)
        raise BundleError(f"{model.file}: expected {outputs} outputs, got {len(model.outputs)}: {names}")


def check_input(model: Model, index: int, dims: Sequence[int], types: Sequence[DataType] = ("TYPE_FP32",)) -> DataType:
    """Check one input and return its type, one of `types`; raises `BundleError`.

    `dims` are sizes, `BATCH` or `FREE`. A dimension that the file leaves open fits any size; a batch may be open or 1.
    """
    value = model.inputs[index]
    found, got = _data_type(value), dims_of(value)
    expected = [1 if dim == BATCH else dim for dim in dims]
    fits = len(got) == len(dims) and all(
        dim in (None, wanted) or wanted == FREE for dim, wanted in zip(got, expected, strict=True)
    )
    if found not in types or not fits:
        wanted = f"{' or '.join(types)} {_shown(dims)}"
        raise BundleError(f"{model.file}: input {value.name}: expected {wanted}, got {found} {_shown(got)}")
    assert found is not None
    return found


def takes_batches(model: Model, axes: Sequence[int]) -> bool:
    """Whether the batch axis `axes[i]` of every input i is open, and no row depends on its neighbours."""
    if model.is_batch_quantised:
        return False
    return all(dims_of(value)[axis] is None for value, axis in zip(model.inputs, axes, strict=True))


def dims_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Return the dimensions of an input or output, None for an open one."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in value.type.tensor_type.shape.dim
    )


def run_once(model: Model, inputs: Sequence[Array]) -> list[Array]:
    """Run `model` on `inputs` in its order and return its outputs: what they look like, files do not always say.

    Raises `BundleError` if ONNX Runtime cannot.
    """
    return opened(model)(inputs)


def opened(model: Model) -> Callable[[Sequence[Array]], list[Array]]:
    """Return what runs `model` like `run_once`, as often as needed."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # fatal: every error is raised too
    with _explained(model):
        session = ort.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Array]) -> list[Array]:
        feeds = {value.name: array for value, array in zip(model.inputs, inputs, strict=True)}
        with _explained(model):
            return list(session.run(None, feeds))

    return run


@contextmanager
def _explained(model: Model) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        reason = str(error).strip().splitlines()[0].replace(f"{model.path.parent}/", "")
        raise BundleError(f"{model.file}: cannot run on what its metadata promises: {reason:.200}") from None


def zeros(dims: Sequence[int], dtype: type[np.generic] = np.float32) -> Array:
    """Return a batch of one row of zeros; `BATCH` is 1."""
    return np.zeros([1 if dim == BATCH else dim for dim in dims], dtype)


def _data_type(value: onnx.ValueInfoProto) -> DataType | None:
    return _TYPES.get(value.type.tensor_type.elem_type)


def _shown(dims: Sequence[int | None]) -> str:
    return "[" + ", ".join({BATCH: "batch", FREE: "any", None: "open"}.get(dim, str(dim)) for dim in dims) + "]"
