"""Import of icefall's streaming transducers with a stateless decoder, any encoder of `states.STATES`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.encoder import Encoder, add_encoder, read_encoder
from streamer.bundle.sherpa.inline import opset_of
from streamer.bundle.sherpa.parts import Built, BuiltGraph, audio_of, task_parameters
from streamer.bundle.sherpa.signatures import BATCH, check_counts, check_input, dims_of, run_once, zeros
from streamer.bundle.sherpa.source import Model, Source
from streamer.errors import BundleError

# Fixed in all of icefall's transducers.
BLANK = 0
CONTEXT = "context"
# The search on the host, `streamer/tasks/beam_program.py`, which the graph `joint` serves.
BEAM_SEARCH = "beam_search"
# The oldest operator set that a bundle may have.
LEAST_OPSET = 13


@dataclass(frozen=True, slots=True)
class Search:
    """The decoder (`context` last tokens to `joint` values) and the joiner (to logits of `vocabulary` tokens).

    Tokens in `silent` are not said: blank, and `<unk>` if there is one. `is_free`: any number of rows fits one call.
    """

    decoder: Model
    joiner: Model
    context: int
    vocabulary: int
    joint: int
    silent: tuple[int, ...]
    is_free: bool

    @property
    def is_batch_quantised(self) -> bool:
        """Whether rows of one batch depend on each other."""
        return self.decoder.is_batch_quantised or self.joiner.is_batch_quantised


def import_transducer(source: Source) -> Built:
    """Make the graph `step`, and `joint` for searches on the host, of an icefall transducer; raises `BundleError`."""
    encoder = read_encoder(source.models["encoder"])
    search = _read_search(source, encoder)
    opset = max(LEAST_OPSET, *(opset_of(model.proto) for model in source.models.values()))
    audio = audio_of(encoder.features)
    takes_batches = encoder.takes_batches and search.is_free and not search.is_batch_quantised
    graphs = [BuiltGraph("step", _step(encoder, search, opset), audio, None if takes_batches else 1)]
    roles = {"pcm": "step.pcm", "token_ids": "step.token_ids", "token_logp": "step.token_logp"}
    parameters = task_parameters(audio, encoder.frames, BLANK)
    if search.is_free:
        # The contexts of one stream share a scale there, whoever else is served.
        graphs.append(BuiltGraph("joint", _joint(search, opset), max_batch=1 if search.is_batch_quantised else None))
        roles |= {"encoded": "step.encoded", "joint_encoded": "joint.encoded"}
        roles |= {"joint_contexts": "joint.contexts", "log_probs": "joint.log_probs"}
        parameters["context_size"] = search.context
    kind = f"{encoder.model.metadata.text('model_type')} transducer"
    program = BEAM_SEARCH if search.is_free else None
    return Built(kind, tuple(graphs), roles, parameters, program=program)


def add_greedy(builder: GraphBuilder, encoded: str, frames: int, search: Search) -> tuple[str, str]:
    """Add the greedy search over `encoded` f32[B, frames, joint]; returns ids i64[B, frames], log-probs f32[B, frames].

    At most one token per frame, as icefall and sherpa-onnx search. The last tokens are the state `CONTEXT` of the group
    `search`.
    """
    context = _started(builder, builder.state(CONTEXT, [search.context], "TYPE_INT64", initial=-1, group="search"))
    one, zero = builder.constant([1]), builder.constant(np.array(BLANK))
    ids, best_ids, logits = [], [], []
    for frame in range(frames):
        predicted = builder.inline(search.decoder.proto, "decoder", [context])[0]
        row = builder.op("Gather", encoded, builder.constant(frame), axis=1)
        scores = builder.inline(search.joiner.proto, "joiner", [row, predicted])[0]
        best = builder.op("ArgMax", scores, axis=1, keepdims=1)
        is_silent = _is_one_of(builder, best, search.silent)
        ids.append(builder.op("Where", is_silent, zero, best))
        best_ids.append(best)
        logits.append(builder.op("Unsqueeze", scores, one))
        later = builder.op("Slice", context, one, builder.constant([search.context]), one)
        context = builder.op("Where", is_silent, context, builder.op("Concat", later, best, axis=1))
    builder.write(CONTEXT, context)
    log_probs = builder.op("LogSoftmax", builder.op("Concat", *logits, axis=1), axis=2)
    index = builder.op("Unsqueeze", builder.op("Concat", *best_ids, axis=1), builder.constant([2]))
    logps = builder.op("Squeeze", builder.op("GatherElements", log_probs, index, axis=2), builder.constant([2]))
    return builder.op("Concat", *ids, axis=1), logps


def _read_search(source: Source, encoder: Encoder) -> Search:
    """Check decoder and joiner and try them once."""
    decoder, joiner = source.models["decoder"], source.models["joiner"]
    context, vocabulary = decoder.metadata.integer("context_size", 1), decoder.metadata.integer("vocab_size", 2)
    source.check_vocabulary(vocabulary)
    check_counts(decoder, 1, 1)
    check_input(decoder, 0, [BATCH, context], ("TYPE_INT64",))
    predicted = run_once(decoder, [np.full((1, context), BLANK)])[0]
    if predicted.ndim != 2:
        raise BundleError(f"{decoder.file}: expected output [1, width], got {list(predicted.shape)}")
    check_counts(joiner, 2, 1)
    check_input(joiner, 0, [BATCH, encoder.width])
    check_input(joiner, 1, [BATCH, predicted.shape[-1]])
    logits = run_once(joiner, [zeros([1, encoder.width]), predicted])[0]
    if logits.shape != (1, vocabulary):
        raise BundleError(f"{joiner.file}: expected output [1, {vocabulary}], got {list(logits.shape)}")
    unknown = source.token("<unk>")
    silent = (BLANK,) if unknown is None else (BLANK, unknown)
    is_free = all(dims_of(value)[0] is None for value in (*decoder.inputs, *joiner.inputs))
    return Search(decoder, joiner, context, vocabulary, encoder.width, silent, is_free)


def _step(encoder: Encoder, search: Search, opset: int) -> GraphBuilder:
    builder = GraphBuilder(opset)
    encoded = add_encoder(builder, encoder)
    ids, logps = add_greedy(builder, encoded, encoder.frames, search)
    builder.output("token_ids", ids, "TYPE_INT64", [encoder.frames])
    builder.output("token_logp", logps, "TYPE_FP32", [encoder.frames])
    if search.is_free:
        builder.output("encoded", encoded, "TYPE_FP32", [encoder.frames, search.joint])
    return builder


def _joint(search: Search, opset: int) -> GraphBuilder:
    """One frame `encoded` f32[joint] with any number of `contexts` i64[n, context] to `log_probs` f32[n, V]."""
    builder = GraphBuilder(opset)
    encoded = builder.input("encoded", "TYPE_FP32", [search.joint])
    contexts = builder.input("contexts", "TYPE_INT64", [-1, search.context])
    flat = builder.op("Reshape", contexts, builder.constant([-1, search.context]))
    predicted = builder.inline(search.decoder.proto, "decoder", [flat])[0]
    length = builder.op("Slice", builder.op("Shape", contexts), builder.constant([0]), builder.constant([2]))
    shape = builder.op("Concat", length, builder.constant([search.joint]), axis=0)
    frame = builder.op("Expand", builder.op("Unsqueeze", encoded, builder.constant([1])), shape)
    rows = builder.op("Reshape", frame, builder.constant([-1, search.joint]))
    logits = builder.inline(search.joiner.proto, "joiner", [rows, predicted])[0]
    whole = builder.op("Concat", length, builder.constant([search.vocabulary]), axis=0)
    log_probs = builder.op("Reshape", builder.op("LogSoftmax", logits, axis=1), whole)
    builder.output("log_probs", log_probs, "TYPE_FP32", [-1, search.vocabulary])
    return builder


def _started(builder: GraphBuilder, context: str) -> str:
    """Read the last token of a stream that has none as blank: a state begins as one value, the search as -1, ..., 0."""
    [state] = [state for state in builder.states if state.name == CONTEXT]
    least = np.array([-1] * (state.dims[0] - 1) + [BLANK])
    return builder.op("Max", context, builder.constant(least))


def _is_one_of(builder: GraphBuilder, tensor: str, values: Sequence[int]) -> str:
    first, *others = (builder.op("Equal", tensor, builder.constant(np.array(value))) for value in values)
    for other in others:
        first = builder.op("Or", first, other)
    return first
