"""Constants kept as rows times columns in a table."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from models.common.table_matrix import TableMatrix, fourier  # noqa: E402


def matrix(transposed: bool) -> TableMatrix:
    table, columns, offsets = fourier(8)
    gain = np.linspace(0.5, 1, 10).astype(np.float32)
    return TableMatrix(table, 8, np.arange(8), columns, offsets, np.hanning(8).astype(np.float32), gain, transposed)


def model_with(values: np.ndarray) -> onnx.ModelProto:
    """One product by a constant `basis`."""
    node = onnx.helper.make_node("MatMul", ["x", "basis"], ["y"])
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [info("x", 1, [1, values.shape[0]])], [info("y", 1, [1, values.shape[1]])],
        [onnx.numpy_helper.from_array(values, "basis")],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_graph_computes_the_same_constant(transposed: bool) -> None:
    form = matrix(transposed)
    values = form.tensor().numpy()
    model = model_with(values)
    x = np.random.default_rng(0).standard_normal((1, values.shape[0])).astype(np.float32)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    form.replace(model, "basis")
    onnx.checker.check_model(model)
    assert not any(tensor.name == "basis" for tensor in model.graph.initializer)
    np.testing.assert_array_equal(
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0], expected
    )


def test_the_table_is_that_of_the_transform() -> None:
    table, columns, offsets = fourier(8)
    form = TableMatrix(table, 8, np.arange(8), columns, offsets, np.ones(8, np.float32), np.ones(10, np.float32))
    samples = np.random.default_rng(0).standard_normal(8)
    spectrum = np.fft.rfft(samples)
    np.testing.assert_allclose(samples @ form.tensor().numpy(), [*spectrum.real, *spectrum.imag], atol=1e-6)


def test_another_constant_is_not_replaced() -> None:
    form = matrix(transposed=False)
    model = model_with(form.tensor().numpy() + 1)
    for name in ("basis", "other"):
        with pytest.raises(ValueError, match=f"expected the initializer {name} to be the matrix of the table"):
            form.replace(model, name)
