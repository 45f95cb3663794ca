"""Large constants that are rows times columns in a small table, as bases of Fourier transforms are: kept as that."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from torch import Tensor


@dataclass(frozen=True)
class TableMatrix:
    """The matrix `table[rows * columns % period + offsets] * row_gain * column_gain`, f32[R, C], or its transpose.

    `rows` i64[R], `columns` and `offsets` i64[C], `table` f32[n], gains f32[R] and f32[C].
    """

    table: np.ndarray
    period: int
    rows: np.ndarray
    columns: np.ndarray
    offsets: np.ndarray
    row_gain: np.ndarray
    column_gain: np.ndarray
    transposed: bool = False

    def tensor(self) -> Tensor:
        """The matrix, by the same operations in the same order as in the graph."""
        index = self.rows[:, None] * self.columns % self.period + self.offsets
        values = torch.from_numpy(self.table[index] * self.row_gain[:, None] * self.column_gain)
        return values.T.contiguous() if self.transposed else values

    def replace(self, model: onnx.ModelProto, name: str) -> None:
        """Put the operations in the place of the initializer `name`; ONNX Runtime folds them at load.

        Raises `ValueError` if there is none of that name, or it is another matrix.
        """
        found = [tensor for tensor in model.graph.initializer if tensor.name == name]
        if not found or not np.array_equal(onnx.numpy_helper.to_array(found[0]), self.tensor().numpy()):
            raise ValueError(f"expected the initializer {name} to be the matrix of the table, got another or none")
        model.graph.initializer.remove(found[0])
        parts = {
            "rows": self.rows[:, None],
            "columns": self.columns,
            "period": np.array(self.period),
            "offsets": self.offsets,
            "table": self.table,
            "row_gain": self.row_gain[:, None],
            "column_gain": self.column_gain,
        }
        for part, values in parts.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, f"{name}.{part}"))
        steps = [
            ("Mul", "rows", "columns", "product"),
            ("Mod", "product", "period", "wrapped"),
            ("Add", "wrapped", "offsets", "index"),
            ("Gather", "table", "index", "values"),
            ("Mul", "values", "row_gain", "scaled"),
            ("Mul", "scaled", "column_gain", "matrix"),
        ]
        nodes = [
            onnx.helper.make_node(kind, [f"{name}.{one}", f"{name}.{other}"], [f"{name}.{result}"])
            for kind, one, other, result in steps
        ]
        last = [onnx.helper.make_node("Transpose" if self.transposed else "Identity", [f"{name}.matrix"], [name])]
        for place, node in enumerate([*nodes, *last]):
            model.graph.node.insert(place, node)


def fourier(length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Table f32[2 * length] of cosines and then negative sines, columns and offsets of the real transform's parts."""
    angles = 2 * np.pi * np.arange(length) / length
    bins = np.arange(length // 2 + 1)
    table = np.concatenate([np.cos(angles), -np.sin(angles)]).astype(np.float32)
    return table, np.concatenate([bins, bins]), np.repeat([0, length], len(bins))
