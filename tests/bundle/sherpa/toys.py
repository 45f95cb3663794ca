"""Toy models in the format of sherpa-onnx: random weights, real files, states that matter element by element.

The rows of the states are written out here once more, from the description of the format, not from the importer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.toys.graph import GraphBuilder

VOCABULARY, JOINT, CONTEXT, MELS = 12, 16, 2, 80
FRAMES, SHIFT, OUTPUTS = 35, 32, 8
F32, I64 = "TYPE_FP32", "TYPE_INT64"
PIECES = ["<blk>", "<unk>", *(f"\u2581{chr(97 + i)}" if i % 3 == 0 else chr(97 + i) for i in range(VOCABULARY - 2))]


@dataclass(frozen=True)
class Table:
    """Metadata, and states as (type, dims with the batch as "N")."""

    metadata: Mapping[str, Any]
    states: Sequence[tuple[str, Sequence[int | str]]]
    counter: bool = False


def lstm() -> Table:
    return Table(
        {"num_encoder_layers": 2, "d_model": 6, "rnn_hidden_size": 5}, [(F32, [2, "N", 6]), (F32, [2, "N", 5])]
    )


def conformer() -> Table:
    metadata = {"num_encoder_layers": 2, "left_context": 8, "encoder_dim": 6, "pad_length": 3, "cnn_module_kernel": 5}
    return Table(metadata, [(F32, [2, 8, "N", 6]), (F32, [2, 4, "N", 6])], counter=True)


def zipformer() -> Table:
    widths, attention, layers, kernels, left = [6, 8], [4, 12], [1, 2], [5, 7], [8, 4]
    groups: list[Callable[[int], tuple[str, list[int | str]]]] = [
        lambda i: (I64, [layers[i], "N"]),
        lambda i: (F32, [layers[i], "N", widths[i]]),
        lambda i: (F32, [layers[i], left[i], "N", attention[i]]),
        lambda i: (F32, [layers[i], left[i], "N", attention[i] // 2]),
        lambda i: (F32, [layers[i], left[i], "N", attention[i] // 2]),
        lambda i: (F32, [layers[i], "N", widths[i], kernels[i] - 1]),
        lambda i: (F32, [layers[i], "N", widths[i], kernels[i] - 1]),
    ]
    metadata = {
        "encoder_dims": "6,8",
        "attention_dims": "4,12",
        "num_encoder_layers": "1,2",
        "cnn_module_kernels": "5,7",
        "left_context_len": "8,4",
    }
    return Table(metadata, [group(i) for group in groups for i in range(2)])


def zipformer2() -> Table:
    states: list[tuple[str, Sequence[int | str]]] = []
    table = zip([8, 16], [4, 5], [3, 2], [2, 4], [1, 2], [5, 7], [8, 4], strict=True)
    for width, query, value, heads, layers, kernel, left in table:
        for _ in range(layers):
            states += [(F32, [left, "N", query * heads]), (F32, [1, "N", left, 3 * width // 4])]
            states += 2 * [(F32, [left, "N", value * heads])] + 2 * [(F32, ["N", width, kernel // 2])]
    metadata = {
        "encoder_dims": "8,16",
        "query_head_dims": "4,5",
        "value_head_dims": "3,2",
        "num_heads": "2,4",
        "num_encoder_layers": "1,2",
        "cnn_module_kernels": "5,7",
        "left_context_len": "8,4",
    }
    return Table(metadata, [*states, (F32, ["N", 128, 3, 19]), (I64, ["N"])])


def ebranchformer() -> Table:
    metadata = {
        "num_hidden_layers": 2,
        "hidden_size": 6,
        "intermediate_size": 20,
        "csgu_kernel_size": 5,
        "merge_conv_kernel": 4,
        "left_context_len": 8,
        "num_heads": 2,
        "head_dim": 3,
    }
    layer: list[tuple[str, Sequence[int | str]]] = [(F32, ["N", 2, 8, 3]), (F32, ["N", 2, 8, 3])]
    layer += [(F32, ["N", 10, 4]), (F32, ["N", 12, 3])]
    return Table(metadata, [*layer, *layer, (I64, ["N"])])


TABLES: Mapping[str, Callable[[], Table]] = {
    "lstm": lstm,
    "conformer": conformer,
    "zipformer": zipformer,
    "zipformer2": zipformer2,
    "ebranchformer": ebranchformer,
    "zipformer2_ctc": zipformer2,
}


@dataclass
class Toy:
    """What a test may change before the files are written."""

    kind: str
    metadata: dict[str, Any] = field(default_factory=dict)
    states: list[tuple[str, Sequence[int | str]]] = field(default_factory=list)
    pieces: list[str] = field(default_factory=lambda: list(PIECES))
    batch: str | int = "N"
    extra_output: bool = False

    @classmethod
    def of(cls, kind: str) -> Toy:
        table = TABLES[kind]()
        metadata = {"model_type": kind, "version": 1, "T": FRAMES, "decode_chunk_len": SHIFT, **table.metadata}
        return cls(kind, metadata, list(table.states))


def write_toy(folder: Path, toy: Toy | str) -> Path:
    """Write the files of a toy model into `folder` and return it."""
    toy = Toy.of(toy) if isinstance(toy, str) else toy
    folder.mkdir(parents=True, exist_ok=True)
    is_ctc = toy.kind.endswith("_ctc")
    _save(folder / ("model.onnx" if is_ctc else "encoder.onnx"), encoder(toy), toy.metadata)
    if not is_ctc:
        _save(folder / "decoder.onnx", decoder(), {"vocab_size": VOCABULARY, "context_size": CONTEXT})
        _save(folder / "joiner.onnx", joiner(), {"joiner_dim": JOINT})
    lines = [f"{piece} {index}\n" for index, piece in enumerate(toy.pieces)]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def encoder(toy: Toy) -> bytes:
    """Frames are sines of features and of all states; a state becomes a sine of itself and of the loudness.

    Every element of a state has weights of its own, so that states in another order or layout give other frames.
    """
    rng, g = np.random.default_rng(7), GraphBuilder()
    x = g.input("x", F32, [toy.batch, toy.metadata["T"], MELS])
    names = [g.input(f"in_{i}", kind, _dims(toy, dims)) for i, (kind, dims) in enumerate(toy.states)]
    bounds = (g.ints([value]) for value in (0, 4 * OUTPUTS, 1, 4))
    # Small where log-probabilities are compared: what the two filterbanks round differently is not to be magnified.
    gain = 0.6 if toy.kind.endswith("_ctc") else 0.2
    weights = g.floats(rng.standard_normal((MELS, JOINT)) * gain / np.sqrt(MELS))
    frames = g.op("MatMul", g.op("Add", g.op("Slice", x, *bounds), g.floats(8)), weights)
    loudness = g.op("Mul", g.op("ReduceMean", x, g.ints([1, 2]), keepdims=0), g.floats(0.1))
    after = []
    for name, (kind, dims) in zip(names, toy.states, strict=True):
        values = g.op("Mul", g.cast(name, F32), g.floats(1e-3)) if kind == I64 else name
        frames = g.op("Add", frames, g.op("Unsqueeze", _weighted(g, values, dims, rng), g.ints([1])))
        after.append(_count(g, name) if kind == I64 else _next(g, name, dims, loudness, rng))
    if TABLES[toy.kind]().counter:
        processed = g.input("processed_lens", I64, [toy.batch])
        phase = g.op("Sin", g.op("Mul", g.cast(processed, F32), g.floats(0.01)))
        frames = g.op("Add", frames, g.op("Reshape", phase, g.ints([-1, 1, 1])))
    frames = g.op("Sin", frames)
    if toy.kind.endswith("_ctc"):
        logits = g.op("MatMul", frames, g.floats(rng.standard_normal((JOINT, VOCABULARY))))
        frames = g.op("LogSoftmax", logits, axis=-1)
    width = VOCABULARY if toy.kind.endswith("_ctc") else JOINT
    g.op("Identity", frames, to="encoder_out")
    g.output("encoder_out", F32, [toy.batch, "frames", width])
    for index, (name, (kind, dims)) in enumerate(zip(after, toy.states, strict=True)):
        g.op("Identity", name, to=f"out_{index}")
        g.output(f"out_{index}", kind, _dims(toy, dims))
    if toy.extra_output:
        g.op("Identity", frames, to="extra")
        g.output("extra", F32, [toy.batch, "frames", width])
    return g.model()


def decoder() -> bytes:
    """A weighted embedding of every token of the context; negative ones are zeros."""
    rng, g = np.random.default_rng(8), GraphBuilder()
    y = g.input("y", I64, ["N", CONTEXT])
    zero = g.ints(0)
    rows = g.op("Gather", g.floats(rng.standard_normal((VOCABULARY, JOINT))), g.op("Max", y, zero))
    is_none = g.op("Unsqueeze", g.op("Less", y, zero), g.ints([2]))
    rows = g.op("Where", is_none, g.floats(0), rows)
    weighted = g.op("Mul", rows, g.floats(rng.uniform(0.3, 1, (CONTEXT, 1))))
    g.op("ReduceSum", weighted, g.ints([1]), to="decoder_out", keepdims=0)
    g.output("decoder_out", F32, ["N", JOINT])
    return g.model()


def joiner() -> bytes:
    rng, g = np.random.default_rng(9), GraphBuilder()
    a, b = g.input("encoder_out", F32, ["N", JOINT]), g.input("decoder_out", F32, ["N", JOINT])
    hidden = g.op("Tanh", g.op("Add", a, b))
    logits = g.op("MatMul", hidden, g.floats(rng.standard_normal((JOINT, VOCABULARY)) * 0.6))
    g.op("Add", logits, g.floats([1.5, 2.0] + [0] * (VOCABULARY - 2)), to="logit")
    g.output("logit", F32, ["N", VOCABULARY])
    return g.model()


def edit(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Apply `change` to the ONNX file at `path`."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def set_metadata(model: onnx.ModelProto, **values: object) -> None:
    """Set metadata; None takes a key away."""
    kept = {entry.key: entry.value for entry in model.metadata_props} | {k: str(v) for k, v in values.items()}
    onnx.helper.set_model_props(model, {k: v for k, v in kept.items() if values.get(k, "") is not None})


def _save(path: Path, model: bytes, metadata: Mapping[str, Any]) -> None:
    path.write_bytes(model)
    edit(path, lambda proto: set_metadata(proto, **metadata))


def _dims(toy: Toy, dims: Sequence[int | str]) -> list[int | str]:
    return [toy.batch if dim == "N" else dim for dim in dims]


def _weighted(g: GraphBuilder, state: str, dims: Sequence[int | str], rng: np.random.Generator) -> str:
    """Weigh the elements of each stream's row into f32[N, JOINT]."""
    axis = list(dims).index("N")
    order = [axis, *(other for other in range(len(dims)) if other != axis)]
    size = int(np.prod([dim for dim in dims if dim != "N"]))
    flat = g.op("Reshape", g.op("Transpose", state, perm=order), g.ints([-1, size]))
    return g.op("MatMul", flat, g.floats(rng.standard_normal((size, JOINT)) * 0.6 / np.sqrt(size)))


def _next(g: GraphBuilder, state: str, dims: Sequence[int | str], loudness: str, rng: np.random.Generator) -> str:
    shape = [-1 if dim == "N" else 1 for dim in dims]
    phases = g.floats(rng.uniform(0, 6, [1 if dim == "N" else dim for dim in dims]))
    moved = g.op(
        "Add", g.op("Add", g.op("Mul", state, g.floats(0.5)), phases), g.op("Reshape", loudness, g.ints(shape))
    )
    return g.op("Sin", moved)


def _count(g: GraphBuilder, state: str) -> str:
    return g.op("Add", state, g.ints(SHIFT))
