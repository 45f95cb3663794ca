"""NeMo's cache-aware streaming models as sherpa-onnx exports them: CTC in one file, transducers in three."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from streamer.bundle.manifest import NUMPY_TYPES, DataType
from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.ctc import add_greedy_ctc
from streamer.bundle.sherpa.features import FeatureSpec, add_features
from streamer.bundle.sherpa.inline import opset_of
from streamer.bundle.sherpa.nemo_search import SYMBOLS_PER_FRAME, Predictor, add_nemo_search
from streamer.bundle.sherpa.parts import Built, BuiltGraph, audio_of, task_parameters
from streamer.bundle.sherpa.signatures import (
    BATCH,
    INTEGERS,
    check_counts,
    check_input,
    dims_of,
    run_once,
    takes_batches,
    zeros,
)
from streamer.bundle.sherpa.source import Metadata, Model, Source
from streamer.bundle.sherpa.transducer import LEAST_OPSET
from streamer.errors import BundleError

_BLANK = "<blk>"
_MELS = 80
# Names the models that sherpa-onnx searches in another way.
_OTHER_SEARCH = "streaming_model_type"


@dataclass(frozen=True, slots=True)
class _Encoder:
    """A checked encoder with three caches: a chunk of `spec` becomes `frames` frames of `width` values.

    `channel` and `time` are the rows of its caches; `length` and `count` the types of its input and cache lengths.
    `prompt` is what a model of many languages is told of the language: to find it out itself.
    """

    model: Model
    spec: FeatureSpec
    channel: tuple[int, ...]
    time: tuple[int, ...]
    length: DataType
    count: DataType
    frames: int
    width: int
    prompt: int | None
    takes_batches: bool


def import_nemo_ctc(source: Source) -> Built:
    """Make the graph `step` of a NeMo CTC model; raises `BundleError`."""
    model = source.models["model"]
    encoder = _read_encoder(model, frame_axis=1)
    blank = _blank(source, model.metadata)
    _check_tokens(model, encoder.width, blank)
    builder = GraphBuilder(max(LEAST_OPSET, opset_of(model.proto)))
    said = add_greedy_ctc(builder, _add_encoder(builder, encoder), blank)
    return _built("NeMo CTC", builder, encoder, blank, said)


def import_nemo_transducer(source: Source) -> Built:
    """Make the graph `step` of a NeMo transducer; raises `BundleError`."""
    encoder = _read_encoder(source.models["encoder"], frame_axis=2)
    blank = _blank(source, encoder.model.metadata)
    predictor, takes_batches = _read_predictor(source, encoder, blank)
    builder = GraphBuilder(max(LEAST_OPSET, *(opset_of(model.proto) for model in source.models.values())))
    encoded = builder.op("Transpose", _add_encoder(builder, encoder), perm=[0, 2, 1])
    said = add_nemo_search(builder, predictor, encoded, encoder.frames)
    return _built("NeMo transducer", builder, encoder, blank, said, SYMBOLS_PER_FRAME, takes_batches)


def _read_encoder(model: Model, frame_axis: int) -> _Encoder:
    """Read the metadata and check the file; axis `frame_axis` of its first output counts frames."""
    metadata = model.metadata
    _check_normalisation(metadata)
    window, shift = metadata.integer("window_size", 1), metadata.integer("chunk_shift", 1)
    if shift > window:
        raise BundleError(f"{model.file}: expected chunk_shift <= window_size, got {shift} and {window}")
    mels = _bands(model)
    channel, time = (
        tuple(metadata.integer(f"cache_last_{name}_dim{axis}", 1) for axis in (1, 2, 3)) for name in ("channel", "time")
    )
    prompt = _prompt(model)
    check_counts(model, 5 if prompt is None else 6, 5)
    check_input(model, 0, [BATCH, mels, window])
    length = check_input(model, 1, [BATCH], INTEGERS)
    check_input(model, 2, [BATCH, *channel])
    check_input(model, 3, [BATCH, *time])
    count = check_input(model, 4, [BATCH], INTEGERS)
    rows = [zeros([BATCH, mels, window]), np.full(1, window, NUMPY_TYPES[length])]
    rows += [zeros([BATCH, *channel]), zeros([BATCH, *time]), np.zeros(1, NUMPY_TYPES[count])]
    if prompt is not None:
        check_input(model, 5, [BATCH], ("TYPE_INT64",))
        rows.append(np.full(1, prompt))
    encoded = run_once(model, rows)[0]
    frames, factor = encoded.shape[frame_axis], metadata.integer("subsampling_factor", 1)
    if frames * factor != shift:
        got = f"{frames} frames of {factor} rows for chunk_shift {shift}"
        raise BundleError(f"{model.file}: expected frames that cover the shift of a chunk, got {got}")
    spec, width = FeatureSpec("nemo", window, shift, mels), encoded.shape[3 - frame_axis]
    batches = takes_batches(model, [0] * len(rows))
    return _Encoder(model, spec, channel, time, length, count, frames, width, prompt, batches)


def _read_predictor(source: Source, encoder: _Encoder, blank: int) -> tuple[Predictor, bool]:
    """Check decoder and joiner and see how wide what goes between them is; returns too whether they take batches."""
    decoder, joiner = source.models["decoder"], source.models["joiner"]
    if _OTHER_SEARCH in decoder.metadata.values:
        got = decoder.metadata.text(_OTHER_SEARCH)
        raise BundleError(f"{decoder.file}: metadata {_OTHER_SEARCH}: expected none, got {got!r:.60}")
    metadata = encoder.model.metadata
    layers, hidden = metadata.integer("pred_rnn_layers", 1), metadata.integer("pred_hidden", 1)
    check_counts(decoder, 4, 4)
    targets = check_input(decoder, 0, [BATCH, 1], INTEGERS)
    lengths = check_input(decoder, 1, [BATCH], INTEGERS)
    for index in (2, 3):
        check_input(decoder, index, [layers, BATCH, hidden])
    state = zeros([layers, BATCH, hidden])
    token = np.full((1, 1), blank, NUMPY_TYPES[targets])
    predicted = run_once(decoder, [token, np.ones(1, NUMPY_TYPES[lengths]), state, state])[0]
    if predicted.ndim != 3 or predicted.shape[2] != 1:
        raise BundleError(f"{decoder.file}: expected an output of [1, width, 1], got {list(predicted.shape)}")
    width = predicted.shape[1]
    check_counts(joiner, 2, 1)
    check_input(joiner, 0, [BATCH, encoder.width, 1])
    check_input(joiner, 1, [BATCH, width, 1])
    _check_tokens(joiner, run_once(joiner, [zeros([BATCH, encoder.width, 1]), predicted])[0].size, blank)
    batches = takes_batches(decoder, [0, 0, 1, 1]) and takes_batches(joiner, [0, 0])
    return Predictor(decoder.proto, joiner.proto, blank, layers, hidden, width, targets, lengths), batches


def _add_encoder(builder: GraphBuilder, encoder: _Encoder) -> str:
    """Add front end, encoder and their states; returns the first output of the encoder."""
    pcm = builder.input("pcm", "TYPE_FP32", [encoder.spec.chunk_samples])
    features, carry = add_features(
        builder, encoder.spec, pcm, builder.state("carry", [encoder.spec.carry_samples]), builder.start()
    )
    builder.write("carry", carry)
    batch = builder.op("Shape", builder.start())
    window = np.array(encoder.spec.frames, NUMPY_TYPES[encoder.length])
    inputs = [
        builder.op("Transpose", features, perm=[0, 2, 1]),
        builder.op("Expand", builder.constant(window), batch),
        builder.state("cache_channel", encoder.channel),
        builder.state("cache_time", encoder.time),
        builder.state("cache_length", [], encoder.count),
    ]
    if encoder.prompt is not None:
        inputs.append(builder.op("Expand", builder.constant(np.array(encoder.prompt)), batch))
    outputs = builder.inline(encoder.model.proto, "encoder", inputs)
    for name, rows in zip(("cache_channel", "cache_time", "cache_length"), outputs[2:5], strict=True):
        builder.write(name, rows)
    return outputs[0]


def _built(
    kind: str,
    builder: GraphBuilder,
    encoder: _Encoder,
    blank: int,
    said: tuple[str, str],
    symbols: int = 1,
    takes_batches: bool = True,
) -> Built:
    builder.output("token_ids", said[0], "TYPE_INT64", [encoder.frames * symbols])
    builder.output("token_logp", said[1], "TYPE_FP32", [encoder.frames * symbols])
    audio = audio_of(encoder.spec)
    parameters = task_parameters(audio, encoder.frames, blank)
    if symbols > 1:
        parameters["symbols_per_frame"] = symbols
    graph = BuiltGraph("step", builder, audio, None if encoder.takes_batches and takes_batches else 1)
    return Built(kind, (graph,), {name: f"step.{name}" for name in ("pcm", "token_ids", "token_logp")}, parameters)


def _blank(source: Source, metadata: Metadata) -> int:
    """NeMo's blank comes after its vocabulary."""
    blank = metadata.integer("vocab_size", 1)
    source.check_vocabulary(blank + 1)
    found = source.token(_BLANK)
    if found != blank:
        raise BundleError(f"{source.tokens.name}: expected {_BLANK} as the last id {blank}, got {found}")
    return blank


def _check_tokens(model: Model, outputs: int, blank: int) -> None:
    if outputs != blank + 1:
        raise BundleError(f"{model.file}: expected {blank + 1} logits, one of them for blank, got {outputs}")


def _check_normalisation(metadata: Metadata) -> None:
    """Streaming models take features as they are: a mean over the whole recording is not known yet."""
    kind = metadata.values.get("normalize_type", "")
    if kind not in ("", "NA"):
        raise BundleError(f"{metadata.file}: metadata normalize_type: expected none, got {kind!r:.60}")


def _prompt(model: Model) -> int | None:
    """The prompt for a language that is not known yet, where the model takes one: a JSON object lists them by name."""
    if len(model.inputs) < 6 or model.inputs[5].name != "prompt_index":
        return None
    metadata = model.metadata
    try:
        prompts = json.loads(metadata.values.get("prompt_dictionary", "{}"))
        prompt = prompts["auto"] if "auto" in prompts else metadata.integer("auto_prompt_id")
    except (ValueError, TypeError):
        prompt = None
    if isinstance(prompt, bool) or not isinstance(prompt, int) or prompt < 0:
        got = metadata.values.get("prompt_dictionary")
        raise BundleError(
            f"{model.file}: metadata prompt_dictionary: expected an object with a number, got {got!r:.60}"
        )
    return prompt


def _bands(model: Model) -> int:
    dims = dims_of(model.inputs[0]) if model.inputs else ()
    return (dims[1] if len(dims) > 1 else None) or _MELS
