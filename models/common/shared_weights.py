"""Graphs of one bundle that hold equal tensors keep them once: the second file refers to bytes of the first.

ONNX lets a tensor lie at an offset of another file of the folder. Both files are in the manifest with their hashes.
"""

from pathlib import Path

import onnx

# Below this size a reference would hardly be smaller than what it stands for.
_LEAST_BYTES = 1024


def share_weights(path: Path, source: Path) -> None:
    """Rewrite the graph in `path` to take from `source`, of the same folder, each tensor whose bytes it has too."""
    model, held = onnx.load(path, load_external_data=False), source.read_bytes()
    kept = {tensor.raw_data for tensor in onnx.load(source, load_external_data=False).graph.initializer}
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= _LEAST_BYTES and tensor.raw_data in kept:
            _refer(tensor, source.name, held.index(tensor.raw_data))
    path.write_bytes(model.SerializeToString())


def _refer(tensor: onnx.TensorProto, file: str, offset: int) -> None:
    for key, value in (("location", file), ("offset", offset), ("length", len(tensor.raw_data))):
        tensor.external_data.add(key=key, value=str(value))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
