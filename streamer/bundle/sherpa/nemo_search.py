"""NeMo's greedy transducer search as one loop of ONNX nodes: several symbols per frame, a recurrent predictor.

Every turn of the loop predicts for the rows that have just said a token, joins the current frame of each row, and lets
a row either say its best token or go on to its next frame. Rows of a batch do not wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from streamer.bundle.manifest import DataType
from streamer.bundle.sherpa.builder import GraphBuilder, LoopStep
from streamer.bundle.sherpa.ctc import best_tokens

GROUP = "search"
# NeMo's own limit, and sherpa-onnx's.
SYMBOLS_PER_FRAME = 10


@dataclass(frozen=True, slots=True)
class Predictor:
    """A recurrent predictor (`decoder`) and the `joiner` of its output `[B, width, 1]` with a frame of the encoder.

    `layers` and `hidden` are the dimensions of its two states, `targets` and `lengths` the types of its other inputs.
    """

    decoder: onnx.ModelProto
    joiner: onnx.ModelProto
    blank: int
    layers: int
    hidden: int
    width: int
    targets: DataType = "TYPE_INT32"
    lengths: DataType = "TYPE_INT32"


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where every row of the batch is.

    `frame` i64[B] and `count` i64[B]: the frame it looks at, how many symbols that has said; `token` i64[B] and
    `is_new` bool[B]: the last token, and whether the predictor has yet to take it; `hidden` and `cell`
    f32[layers, B, hidden] and `predicted` f32[B, width, 1]: the predictor; `ids` i64[B, frames * symbols + 1] and
    `logps` f32 alike: what was said, the last place for what was not.
    """

    frame: str
    count: str
    token: str
    is_new: str
    hidden: str
    cell: str
    predicted: str
    ids: str
    logps: str

    def names(self) -> list[str]:
        return [getattr(self, name) for name in self.__dataclass_fields__]


def add_nemo_search(builder: GraphBuilder, predictor: Predictor, encoded: str, frames: int) -> tuple[str, str]:
    """Add the search over `encoded` f32[B, frames, D]; returns ids i64 and log-probabilities f32.

    Both are [B, frames * SYMBOLS_PER_FRAME], blank where nothing is said. The predictor's states are kept in the group
    `search`; where it starts, the predictor takes a blank first.
    """
    places = frames * SYMBOLS_PER_FRAME

    def turn(body: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        rows = _predict(body, predictor, _Rows(*carried))
        rows = _say(body, predictor, rows, encoded, frames)
        is_on = body.op("Less", rows.frame, body.constant(np.array(frames, np.int64)))
        return LoopStep(rows.names(), go_on=_any(body, body.op("Or", is_on, rows.is_new)))

    trips = builder.constant(np.array(places + 1, np.int64))
    done = _Rows(*builder.loop(trips, _begin(builder, predictor, places).names(), turn))
    builder.write("predictor_hidden", done.hidden)
    builder.write("predictor_cell", done.cell)
    builder.write("predicted", builder.op("Squeeze", done.predicted, builder.constant([2])))
    said = [builder.constant([0]), builder.constant([places]), builder.constant([1])]
    return builder.op("Slice", done.ids, *said), builder.op("Slice", done.logps, *said)


def _begin(builder: GraphBuilder, predictor: Predictor, places: int) -> _Rows:
    """Rows before their first frame; those that start have a blank to take."""
    dims = [predictor.layers, predictor.hidden]
    hidden, cell = (builder.state(f"predictor_{name}", dims, axis=1, group=GROUP) for name in ("hidden", "cell"))
    predicted = builder.state("predicted", [predictor.width], group=GROUP)
    start = builder.start(GROUP)
    batch = builder.op("Shape", start)
    zeros = builder.op("Expand", builder.constant(np.array(0, np.int64)), batch)
    blanks = builder.op("Expand", builder.constant(np.array(predictor.blank, np.int64)), batch)
    shape = builder.op("Concat", batch, builder.constant([places + 1]), axis=0)
    ids = builder.op("Expand", builder.constant(np.array(predictor.blank, np.int64)), shape)
    logps = builder.op("Expand", builder.constant(np.float32(0)), shape)
    predicted = builder.op("Unsqueeze", predicted, builder.constant([2]))
    return _Rows(zeros, zeros, blanks, start, hidden, cell, predicted, ids, logps)


def _predict(builder: GraphBuilder, predictor: Predictor, rows: _Rows) -> _Rows:
    """Let the predictor take the tokens that are new; without any it does not run."""

    def take(body: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        targets = body.cast(body.op("Unsqueeze", rows.token, body.constant([1])), predictor.targets)
        ones = body.op("Expand", body.constant(np.array(1, np.int64)), body.op("Shape", rows.token))
        lengths = body.cast(ones, predictor.lengths)
        outputs = body.inline(predictor.decoder, "decoder", [targets, lengths, *carried[1:]])
        taken = [outputs[0], *outputs[2:4]]
        masks = [body.op("Unsqueeze", rows.is_new, body.constant(axes)) for axes in ([1, 2], [0, 2], [0, 2])]
        return LoopStep([body.op("Where", *each) for each in zip(masks, taken, carried, strict=True)])

    trips = builder.cast(_any(builder, rows.is_new), "TYPE_INT64")
    predicted, hidden, cell = builder.loop(trips, [rows.predicted, rows.hidden, rows.cell], take)
    return _Rows(
        rows.frame, rows.count, rows.token, rows.is_new, hidden, cell, predicted, rows.ids, rows.logps
    )  # fmt: skip


def _say(builder: GraphBuilder, predictor: Predictor, rows: _Rows, encoded: str, frames: int) -> _Rows:
    """Join every row's frame: it says the best token, or goes on to the next frame if that is blank."""
    best, logp = _join(builder, predictor, rows, encoded, frames)
    is_on = builder.op("Less", rows.frame, builder.constant(np.array(frames, np.int64)))
    blank, one = (builder.constant(np.array(value, np.int64)) for value in (predictor.blank, 1))
    says = builder.op("And", is_on, builder.op("Not", builder.op("Equal", best, blank)))
    symbols = builder.constant(np.array(SYMBOLS_PER_FRAME, np.int64))
    place = builder.op("Add", builder.op("Mul", rows.frame, symbols), rows.count)
    nowhere = builder.constant(np.array(frames * SYMBOLS_PER_FRAME, np.int64))
    place = builder.op("Unsqueeze", builder.op("Where", says, place, nowhere), builder.constant([1]))
    ids, logps = (
        builder.op("ScatterElements", said, place, builder.op("Unsqueeze", new, builder.constant([1])), axis=1)
        for said, new in ((rows.ids, best), (rows.logps, logp))
    )
    count = builder.op("Add", rows.count, one)
    goes_on = builder.op("Or", builder.op("Not", says), builder.op("Equal", count, symbols))
    frame = builder.op("Where", goes_on, builder.op("Add", rows.frame, one), rows.frame)
    count = builder.op("Where", goes_on, builder.constant(np.array(0, np.int64)), count)
    token = builder.op("Where", says, best, rows.token)
    return _Rows(frame, count, token, says, rows.hidden, rows.cell, rows.predicted, ids, logps)


def _join(builder: GraphBuilder, predictor: Predictor, rows: _Rows, encoded: str, frames: int) -> tuple[str, str]:
    """Return the best token i64[B] of every row's frame and its log-probability."""
    last = builder.constant(np.array(frames - 1, np.int64))
    index = builder.op("Unsqueeze", builder.op("Min", rows.frame, last), builder.constant([1]))
    frame = builder.op("GatherND", encoded, index, batch_dims=1)
    frame = builder.op("Unsqueeze", frame, builder.constant([2]))
    logits = builder.inline(predictor.joiner, "joiner", [frame, rows.predicted])[0]
    return best_tokens(builder, builder.op("Reshape", logits, builder.constant([0, -1])))


def _any(builder: GraphBuilder, flags: str) -> str:
    """Whether any of `flags` bool[B] holds: a scalar."""
    count = builder.op("ReduceSum", builder.cast(flags, "TYPE_INT64"), keepdims=0)
    return builder.op("Greater", count, builder.constant(np.array(0, np.int64)))
