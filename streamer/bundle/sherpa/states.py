"""The states that sherpa-onnx keeps for each type of encoder, as tables: names, rows, batch axes, in the model's order.

sherpa-onnx binds inputs and outputs by order, so only the order counts; the names are ours. All states begin as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamer.bundle.manifest import DataType
from streamer.bundle.sherpa.source import Metadata
from streamer.errors import BundleError

Dims = tuple[int, ...]

# zipformer2 has a convolutional front end of fixed size that keeps rows of its own.
_EMBED_CHANNELS, _EMBED_ROWS = 128, 3
_MOST_LAYERS = 1000
# Its metadata with one integer per stack, and the least for which no state is empty.
_ZIPFORMER2 = (
    ("encoder_dims", 2),
    ("num_heads", 1),
    ("query_head_dims", 1),
    ("value_head_dims", 1),
    ("cnn_module_kernels", 2),
    ("left_context_len", 1),
)


@dataclass(frozen=True, slots=True)
class StateRow:
    """One state: its row of `dims` without the batch axis, which the model has at `axis`.

    `step` is for a counter that the model reads and does not return: what it grows by with every chunk.
    """

    name: str
    dims: Dims
    axis: int = 0
    data_type: DataType = "TYPE_FP32"
    step: int | None = None


def lstm(metadata: Metadata, mels: int) -> list[StateRow]:
    """One LSTM per layer: its output and its cell."""
    layers = metadata.integer("num_encoder_layers", 1)
    width, cell = metadata.integer("d_model", 1), metadata.integer("rnn_hidden_size", 1)
    return [StateRow("hidden", (layers, width), axis=1), StateRow("cell", (layers, cell), axis=1)]


def conformer(metadata: Metadata, mels: int) -> list[StateRow]:
    """Left context of attention and convolution, and the count of feature frames before the chunk.

    sherpa-onnx begins the count anew at every endpoint though the caches stay; here it is a state like the others.
    """
    layers, width = metadata.integer("num_encoder_layers", 1), metadata.integer("encoder_dim", 1)
    left, kernel = metadata.integer("left_context", 1), metadata.integer("cnn_module_kernel", 2)
    return [
        StateRow("attention", (layers, left, width), axis=2),
        StateRow("convolution", (layers, kernel - 1, width), axis=2),
        StateRow("processed", (), data_type="TYPE_INT64", step=metadata.integer("decode_chunk_len", 1)),
    ]


def zipformer(metadata: Metadata, mels: int) -> list[StateRow]:
    """Seven groups, each with a tensor for every stack of layers."""
    layers = metadata.integers("num_encoder_layers", 1)
    stacks = len(layers)
    widths, attention = metadata.integers("encoder_dims", 1, stacks), metadata.integers("attention_dims", 2, stacks)
    kernels, left = metadata.integers("cnn_module_kernels", 2, stacks), metadata.integers("left_context_len", 1, stacks)
    groups: list[tuple[str, int, DataType, Callable[[int], Dims]]] = [
        ("length", 1, "TYPE_INT64", lambda i: (layers[i],)),
        ("average", 1, "TYPE_FP32", lambda i: (layers[i], widths[i])),
        ("key", 2, "TYPE_FP32", lambda i: (layers[i], left[i], attention[i])),
        ("value", 2, "TYPE_FP32", lambda i: (layers[i], left[i], attention[i] // 2)),
        ("value2", 2, "TYPE_FP32", lambda i: (layers[i], left[i], attention[i] // 2)),
        ("convolution", 1, "TYPE_FP32", lambda i: (layers[i], widths[i], kernels[i] - 1)),
        ("convolution2", 1, "TYPE_FP32", lambda i: (layers[i], widths[i], kernels[i] - 1)),
    ]
    return [
        StateRow(f"{name}_{i}", dims(i), axis, data_type)
        for name, axis, data_type, dims in groups
        for i in range(stacks)
    ]


def zipformer2(metadata: Metadata, mels: int) -> list[StateRow]:
    """Six tensors for every layer of every stack, then the front end's rows and the count of frames."""
    layers = _layers(metadata, "num_encoder_layers")
    stacks = len(layers)
    table = zip(*(metadata.integers(key, least, stacks) for key, least in _ZIPFORMER2), strict=True)
    rows = []
    for stack, (width, heads, query, value, kernel, left) in enumerate(table):
        for layer in range(layers[stack]):
            rows += [
                StateRow(f"key_{stack}_{layer}", (left, query * heads), axis=1),
                StateRow(f"nonlinear_{stack}_{layer}", (1, left, 3 * width // 4), axis=1),
                StateRow(f"value_{stack}_{layer}", (left, value * heads), axis=1),
                StateRow(f"value2_{stack}_{layer}", (left, value * heads), axis=1),
                StateRow(f"convolution_{stack}_{layer}", (width, kernel // 2)),
                StateRow(f"convolution2_{stack}_{layer}", (width, kernel // 2)),
            ]
    embed = (_EMBED_CHANNELS, _EMBED_ROWS, ((mels - 1) // 2 - 1) // 2)
    return [*rows, StateRow("embed", embed), StateRow("processed", (), data_type="TYPE_INT64")]


def ebranchformer(metadata: Metadata, mels: int) -> list[StateRow]:
    """Four tensors for every layer, then the count of frames."""
    heads, head = metadata.integer("num_heads", 1), metadata.integer("head_dim", 1)
    width, inner = metadata.integer("hidden_size", 1), metadata.integer("intermediate_size", 2)
    left = metadata.integer("left_context_len", 1)
    gate, merge = metadata.integer("csgu_kernel_size", 2), metadata.integer("merge_conv_kernel", 2)
    rows = []
    for layer in range(_layers(metadata, "num_hidden_layers")[0]):
        rows += [
            StateRow(f"key_{layer}", (heads, left, head)),
            StateRow(f"value_{layer}", (heads, left, head)),
            StateRow(f"gate_{layer}", (inner // 2, gate - 1)),
            StateRow(f"merge_{layer}", (2 * width, merge - 1)),
        ]
    return [*rows, StateRow("processed", (), data_type="TYPE_INT64")]


def _layers(metadata: Metadata, key: str) -> tuple[int, ...]:
    """How many layers each stack has; the tables get longer with them."""
    layers = metadata.integers(key, 1)
    if sum(layers) > _MOST_LAYERS:
        raise BundleError(f"{metadata.file}: metadata {key}: expected at most {_MOST_LAYERS} layers, got {sum(layers)}")
    return layers


STATES: Mapping[str, Callable[[Metadata, int], list[StateRow]]] = {
    "conformer": conformer,
    "ebranchformer": ebranchformer,
    "lstm": lstm,
    "zipformer": zipformer,
    "zipformer2": zipformer2,
}
"""The table of each `model_type`, given its metadata and the number of mel bands."""
