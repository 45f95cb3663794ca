"""T-one's streaming CTC models: raw blocks of telephone audio in, one state of half floats."""

from __future__ import annotations

import numpy as np

from streamer.bundle.manifest import Audio, DataType
from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.ctc import add_greedy_ctc
from streamer.bundle.sherpa.inline import opset_of
from streamer.bundle.sherpa.parts import Built, BuiltGraph, task_parameters
from streamer.bundle.sherpa.signatures import BATCH, check_counts, check_input, run_once, takes_batches, zeros
from streamer.bundle.sherpa.source import Model, Source
from streamer.bundle.sherpa.transducer import LEAST_OPSET
from streamer.errors import BundleError

_BLANKS = ("<blk>", "<eps>", "<blank>")
# Full scale of the model's integers, below which sherpa-onnx cuts fractions off.
_FULL_SCALE = 32767
_STATE: DataType = "TYPE_FP16"


def import_t_one_ctc(source: Source) -> Built:
    """Make the graph `step` of a T-one model; raises `BundleError`."""
    model = source.models["model"]
    rate, width = model.metadata.integer("sample_rate", 1), model.metadata.integer("state_dim", 1)
    length_ms = model.metadata.integer("frame_length_ms", 1)
    samples, rest = divmod(rate * length_ms, 1000)
    if rest:
        raise BundleError(f"{model.file}: expected blocks of whole samples, got {length_ms} ms at {rate} Hz")
    frames, vocabulary = _try(model, samples, width)
    source.check_vocabulary(vocabulary)
    blank = source.token(*_BLANKS)
    if blank is None:
        raise BundleError(f"{source.tokens.name}: expected one of {', '.join(_BLANKS)}, got none")
    builder = GraphBuilder(max(LEAST_OPSET, opset_of(model.proto)))
    ids, logps = add_greedy_ctc(builder, _add_model(builder, model, samples, width), blank)
    builder.output("token_ids", ids, "TYPE_INT64", [frames])
    builder.output("token_logp", logps, "TYPE_FP32", [frames])
    audio = Audio(input="pcm", chunk_samples=samples, hop_samples=samples, delay_samples=samples)
    graph = BuiltGraph("step", builder, audio, None if takes_batches(model, [0, 0]) else 1)
    roles = {name: f"step.{name}" for name in ("pcm", "token_ids", "token_logp")}
    return Built("T-one CTC", (graph,), roles, task_parameters(audio, frames, blank), rate)


def _try(model: Model, samples: int, width: int) -> tuple[int, int]:
    """Check the inputs and run the model once: returns frames of a block and the size of the vocabulary."""
    check_counts(model, 2, 2)
    check_input(model, 0, [BATCH, samples, 1], ("TYPE_INT32",))
    check_input(model, 1, [BATCH, width], (_STATE,))
    scores, state = run_once(model, [zeros([BATCH, samples, 1], np.int32), zeros([BATCH, width], np.float16)])[:2]
    if scores.ndim != 3 or samples % scores.shape[1]:
        got = f"{list(scores.shape)} for {samples} samples"
        raise BundleError(f"{model.file}: expected an output of [1, frames, tokens] that divides the block, got {got}")
    if state.shape != (1, width):
        raise BundleError(f"{model.file}: expected a state of [1, {width}] back, got {list(state.shape)}")
    return scores.shape[1], scores.shape[2]


def _add_model(builder: GraphBuilder, model: Model, samples: int, width: int) -> str:
    pcm = builder.input("pcm", "TYPE_FP32", [samples])
    bounds = (builder.constant(np.float32(bound)) for bound in (-1, 1))
    loud = builder.op("Mul", builder.op("Clip", pcm, *bounds), builder.constant(np.float32(_FULL_SCALE)))
    column = builder.op("Unsqueeze", builder.cast(loud, "TYPE_INT32"), builder.constant([2]))
    scores, after = builder.inline(model.proto, "model", [column, builder.state("memory", [width], _STATE)])[:2]
    builder.write("memory", after)
    return builder.cast(scores, "TYPE_FP32")
