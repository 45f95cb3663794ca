"""The three graphs that sherpa-onnx wants of a streaming transducer, sewn from the graphs of a bundle.

sherpa-onnx takes what calls itself an `lstm` without looking for one: it keeps two states per stream that begin as
zeros, `h` and `c`, and passes them on. Here `h` holds a row of every arena, flattened, and the last row of features;
`c` is 0 before the first chunk and 1 after it, and what is 0 starts every group of states. The bundle's slots are the
rows of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from streamer.bundle.manifest import Graph, Manifest, State
from streamer.bundle.sherpa.cut import PREFIX, Part, Seam, cut
from streamer.bundle.sherpa.filterbank import FLOOR
from streamer.errors import BundleError

LOG_MEL, PREDICTED = "log_mel", "predicted"
# sherpa-onnx counts output frames of 40 ms, which are four rows of features.
ROWS_PER_OUTPUT = 4
# Float32 counts to 2^24 alone: integers travel as two numbers, below this and how often it fits.
_HALF = 1 << 20
_INTEGERS = ("TYPE_INT64", "TYPE_INT32")
_UNLIKELY = -1e9
_FLOAT, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@dataclass(frozen=True, slots=True)
class Shapes:
    """What the graphs agree on: `rows` of `mels` features per chunk, `frames` out of it, of `joint` numbers each."""

    rows: int
    mels: int
    frames: int
    joint: int
    vocabulary: int
    context: int
    blank: int

    @property
    def repeat(self) -> int:
        """Output frames of sherpa-onnx in one frame of ours; all but the first are blank by decree."""
        return self.rows // (ROWS_PER_OUTPUT * self.frames)

    @property
    def channels(self) -> int:
        """Width of `encoder_out`: the joint's, and one more that marks a blank by decree if there are any."""
        return self.joint + (self.repeat > 1)


def cut_with_states(
    model: onnx.ModelProto, manifest: Manifest, sources: Sequence[str], target: str
) -> tuple[Part, tuple[State, ...]]:
    """Cut out what computes `target` and all that keeps its states; returns it with those states."""
    states: tuple[State, ...] = ()
    while True:
        part = cut(model, sources, [target, *(f"{state.name}_out" for state in states)])
        found = tuple(state for state in manifest.states if state.name in part.needs)
        if found == states:
            return part, states
        states = found


def encoder(
    part: Part, graph: Graph, states: Sequence[State], target: str, shapes: Shapes, about: Mapping[str, str]
) -> onnx.ModelProto:
    """`x` f32[N, rows, mels], `h` f32[1, N, S], `c` f32[1, N, 1] to `encoder_out`, `next_h`, `next_c`.

    Raises `BundleError` if `target` hears more than `log_mel`.
    """
    seam, keep = Seam(part), _States(states, shapes.mels)
    fresh = seam.op("Less", seam.op("Reshape", "c", seam.constant([-1])), seam.constant(np.float32(0.5)))
    tensors, last = keep.unpack(seam)
    tensors[LOG_MEL] = _one_row_late(seam, shapes, last, fresh)
    tensors |= {f"slots_{pool}": _count(seam) for pool in graph.pools if f"slots_{pool}" in part.needs}
    tensors |= _blank_audio(seam, part, graph)
    tensors |= {f"start_{group}": fresh for group in graph.groups if f"start_{group}" in part.needs}
    seam.feed(tensors)
    frames = shapes.frames * shapes.repeat
    next_h = keep.pack(seam, _slice(seam, "x", 1, shapes.rows - 1, shapes.rows))
    next_c = seam.op("ConstantOfShape", seam.op("Shape", "c"), value=_tensor(np.ones(1, np.float32)))
    outputs = [
        (_value("encoder_out", ["N", frames, shapes.channels]), _forty_ms_frames(seam, PREFIX + target, shapes)),
        (_value("next_h", [1, "N", keep.size]), next_h),
        (_value("next_c", [1, "N", 1]), next_c),
    ]
    inputs = [_value("x", ["N", shapes.rows, shapes.mels]), _value("h", [1, "N", keep.size]), _value("c", [1, "N", 1])]
    metadata = {
        "model_type": "lstm",
        "version": 1,
        "T": shapes.rows,
        "decode_chunk_len": shapes.rows,
        "num_encoder_layers": 1,
        "d_model": keep.size,
        "rnn_hidden_size": 1,
        **about,
    }
    return seam.model(inputs, outputs, metadata)


def decoder(part: Part, contexts: str, shapes: Shapes, about: Mapping[str, str]) -> onnx.ModelProto:
    """`y` i64[N, context] to `decoder_out` f32[N, joint]."""
    seam = Seam(part)
    one = seam.constant([1])
    seam.feed({contexts: seam.op("Unsqueeze", "y", one)})
    inputs = [helper.make_tensor_value_info("y", _INT64, ["N", shapes.context])]
    output = _value("decoder_out", ["N", shapes.joint]), seam.op("Squeeze", PREFIX + PREDICTED, one)
    metadata = {"vocab_size": shapes.vocabulary, "context_size": shapes.context, **about}
    return seam.model(inputs, [output], metadata)


def joiner(part: Part, encoded: str, target: str, shapes: Shapes, about: Mapping[str, str]) -> onnx.ModelProto:
    """`encoder_out` f32[N, channels], `decoder_out` f32[N, joint] to `logit` f32[N, vocabulary]."""
    seam = Seam(part)
    one = seam.constant([1])
    seam.feed(
        {
            encoded: _slice(seam, "encoder_out", 1, 0, shapes.joint),
            PREDICTED: seam.op("Unsqueeze", "decoder_out", one),
        }
    )
    logit = seam.op("Squeeze", PREFIX + target, one)
    if shapes.repeat > 1:
        mark = _slice(seam, "encoder_out", 1, shapes.joint, shapes.channels)
        decree = np.full((1, shapes.vocabulary), _UNLIKELY, np.float32)
        decree[0, shapes.blank] = 0
        is_mark = seam.op("Greater", mark, seam.constant(np.float32(0.5)))
        logit = seam.op("Where", is_mark, seam.constant(decree), logit)
    inputs = [_value("encoder_out", ["N", shapes.channels]), _value("decoder_out", ["N", shapes.joint])]
    output = _value("logit", ["N", shapes.vocabulary]), logit
    return seam.model(inputs, [output], {"joiner_dim": shapes.joint, **about})


class _States:
    """States of one stream as one row of float32: every state flattened, then the last row of features."""

    def __init__(self, states: Sequence[State], mels: int) -> None:
        self._states = tuple(states)
        self._sizes = [*(math.prod(state.dims) for state in states for _ in range(_numbers(state))), mels]
        self.size = sum(self._sizes)

    def unpack(self, seam: Seam) -> tuple[dict[str, str], str]:
        """Return the arena f32 or i64 `[N, *dims]` of each state, and the last row f32[N, mels]."""
        row = seam.op("Reshape", "h", seam.constant([-1, self.size]))
        names = [f"state.{index}" for index in range(len(self._sizes))]
        pieces = iter(seam.ops("Split", row, seam.constant(self._sizes), names=names, axis=1))
        tensors = {}
        for state in self._states:
            flat = self._whole(seam, state, pieces)
            tensors[state.name] = seam.op("Reshape", flat, seam.constant([-1, *state.dims]))
        return tensors, next(pieces)

    def pack(self, seam: Seam, last: str) -> str:
        """Return `next_h` from the arenas after the step and the last row f32[N, 1, mels]."""
        pieces = [piece for state in self._states for piece in self._split(seam, state)]
        pieces.append(seam.op("Reshape", last, seam.constant([-1, self._sizes[-1]])))
        return seam.op("Unsqueeze", seam.op("Concat", *pieces, axis=1), seam.constant([0]))

    def _whole(self, seam: Seam, state: State, pieces: Iterator[str]) -> str:
        kind = helper.np_dtype_to_tensor_dtype(state.dtype)
        if state.data_type not in _INTEGERS:
            return seam.op("Cast", next(pieces), to=kind)
        low, high = (seam.op("Cast", next(pieces), to=_INT64) for _ in range(2))
        return seam.op("Cast", seam.op("Add", low, seam.op("Mul", high, seam.constant(_HALF))), to=kind)

    def _split(self, seam: Seam, state: State) -> list[str]:
        flat = seam.op("Reshape", f"{PREFIX}{state.name}_out", seam.constant([-1, math.prod(state.dims)]))
        if state.data_type not in _INTEGERS:
            return [seam.op("Cast", flat, to=_FLOAT)]
        whole, half = seam.op("Cast", flat, to=_INT64), seam.constant(_HALF)
        # The sign of the remainder is that of the divisor, so a negative number is a negative high part.
        low = seam.op("Mod", whole, half)
        high = seam.op("Div", seam.op("Sub", whole, low), half)
        return [seam.op("Cast", part, to=_FLOAT) for part in (low, high)]


def _numbers(state: State) -> int:
    return 2 if state.data_type in _INTEGERS else 1


def _one_row_late(seam: Seam, shapes: Shapes, last: str, fresh: str) -> str:
    """Turn Kaldi's frames of a chunk into our rows: the last frame of the chunk before, or silence, comes first."""
    silence = seam.constant(np.full((1, shapes.mels), math.log(FLOOR), np.float32))
    first = seam.op("Where", seam.op("Unsqueeze", fresh, seam.constant([1])), silence, last)
    return seam.op(
        "Concat", seam.op("Unsqueeze", first, seam.constant([1])), _slice(seam, "x", 1, 0, shapes.rows - 1), axis=1
    )


def _blank_audio(seam: Seam, part: Part, graph: Graph) -> dict[str, str]:
    """Zeros f32[N, samples] for the graph's PCM, of which the part may ask nothing but its shape."""
    if graph.audio is None or graph.audio.input not in part.needs:
        return {}
    pcm = graph.audio.input
    if any(pcm in node.input and node.op_type != "Shape" for node in part.nodes):
        raise BundleError(f"graph {graph.name}: expected frames made of {LOG_MEL} alone, but they hear {pcm} too")
    size = seam.op("Unsqueeze", _size(seam), seam.constant([0]))
    shape = seam.op("Concat", size, seam.constant([graph.audio.chunk_samples]), axis=0)
    return {pcm: seam.op("ConstantOfShape", shape, value=_tensor(np.zeros(1, np.float32)))}


def _count(seam: Seam) -> str:
    """The numbers from 0 to N - 1."""
    return seam.op("Range", seam.constant(0), _size(seam), seam.constant(1))


def _size(seam: Seam) -> str:
    """The number of streams N, an int64 scalar."""
    return seam.op("Gather", seam.op("Shape", "x"), seam.constant(0))


def _forty_ms_frames(seam: Seam, encoded: str, shapes: Shapes) -> str:
    """Follow each frame f32[N, frames, joint] with as many marked ones as make its length up."""
    if shapes.repeat == 1:
        return encoded
    frames = seam.op("Unsqueeze", encoded, seam.constant([2]))
    padded = seam.op("Pad", frames, seam.constant([0, 0, 0, 0, 0, 0, shapes.repeat - 1, 1]))
    marks = np.zeros((1, 1, shapes.repeat, shapes.channels), np.float32)
    marks[..., 1:, -1] = 1
    marked = seam.op("Add", padded, seam.constant(marks))
    return seam.op("Reshape", marked, seam.constant([-1, shapes.frames * shapes.repeat, shapes.channels]))


def _slice(seam: Seam, tensor: str, axis: int, begin: int, end: int) -> str:
    return seam.op("Slice", tensor, *(seam.constant([number]) for number in (begin, end, axis)))


def _value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _FLOAT, shape)


def _tensor(array: np.ndarray) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(array)
