"""FunASR's streaming Paraformer as sherpa-onnx exports it: encoder, integrate-and-fire, a decoder of whole tokens.

The encoder keeps nothing: every chunk repeats its last rows. The decoder keeps what it needs of the tokens before, so
how much changes depends on how many there are, and the graph takes one stream at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.bundle.manifest import NUMPY_TYPES, Audio, DataType
from streamer.bundle.sherpa.builder import GraphBuilder, LoopStep
from streamer.bundle.sherpa.cif import Fired, add_cif
from streamer.bundle.sherpa.ctc import log_probabilities
from streamer.bundle.sherpa.features import FeatureSpec, add_features
from streamer.bundle.sherpa.filterbank import HOP
from streamer.bundle.sherpa.inline import opset_of
from streamer.bundle.sherpa.parts import Built, BuiltGraph
from streamer.bundle.sherpa.signatures import BATCH, FREE, INTEGERS, check_counts, check_input, run_once, zeros
from streamer.bundle.sherpa.source import Metadata, Model, Source
from streamer.bundle.sherpa.transducer import LEAST_OPSET
from streamer.errors import BundleError
from streamer.work import Array

GROUP = "search"
# Low frame rate: a row is this many frames of features, and rows follow each other by that many.
LFR_WINDOW, LFR_SHIFT = 7, 6
# New rows of a chunk, and how many rows around them the encoder sees: those before were new in the last chunk.
ROWS, BACK, AHEAD = 10, 5, 3
OVERLAP = BACK + AHEAD
_FRAMES = (ROWS - 1) * LFR_SHIFT + LFR_WINDOW
# What a segment must have gathered of a token for it to be said when it ends, short of one: FunASR's threshold.
TAIL = 0.45
# Ids that are not text: blank, start, end.
BLANK, _LAST_SPECIAL = 0, 2
_PERIOD = 1e4


@dataclass(frozen=True, slots=True)
class _Files:
    """Both files, checked: rows of `mean` and `scale` numbers in, frames of `width` values between them."""

    encoder: Model
    decoder: Model
    spec: FeatureSpec
    mean: Array
    scale: Array
    width: int
    caches: tuple[int, ...]
    blocks: int
    lengths: tuple[DataType, DataType, DataType]


def import_paraformer(source: Source) -> Built:
    """Make the graph `step` of a streaming Paraformer; raises `BundleError`."""
    files = _read_files(source)
    builder = GraphBuilder(max(LEAST_OPSET, *(opset_of(model.proto) for model in source.models.values())))
    encoded = _add_encoder(builder, files)
    ids, logps, tail_ids, tail_logps = _add_search(builder, files, *encoded)
    builder.output("token_ids", ids, "TYPE_INT64", [ROWS])
    builder.output("token_logp", logps, "TYPE_FP32", [ROWS])
    builder.output("tail_token_ids", tail_ids, "TYPE_INT64", [1])
    builder.output("tail_token_logp", tail_logps, "TYPE_FP32", [1])
    roles = {name: f"step.{name}" for name in ("pcm", *(tensor.name for tensor in builder.outputs))}
    graph = BuiltGraph("step", builder, _audio(files.spec), max_batch=1)
    return Built("streaming Paraformer", (graph,), roles, _parameters(files.spec))


def _audio(spec: FeatureSpec) -> Audio:
    """The last rows of a chunk are only spoken of by the next one."""
    late = spec.chunk_samples - spec.hop_samples + AHEAD * LFR_SHIFT * HOP
    return Audio(
        input="pcm",
        chunk_samples=spec.chunk_samples,
        hop_samples=spec.hop_samples,
        right_context_samples=spec.chunk_samples - spec.hop_samples,
        delay_samples=spec.hop_samples + late,
    )


def _parameters(spec: FeatureSpec) -> dict[str, int]:
    late = AHEAD * LFR_SHIFT * HOP
    return {
        "blank_id": BLANK,
        "frame_samples": LFR_SHIFT * HOP,
        "token_delay_samples": late,
        "flush_samples": spec.chunk_samples - spec.hop_samples + late,
    }


def _read_files(source: Source) -> _Files:
    encoder, decoder = source.models["encoder"], source.models["decoder"]
    metadata = encoder.metadata
    lfr = metadata.integer("lfr_window_size", 1), metadata.integer("lfr_window_shift", 1)
    if lfr != (LFR_WINDOW, LFR_SHIFT):
        raise BundleError(f"{encoder.file}: expected rows of {LFR_WINDOW} frames every {LFR_SHIFT}, got {lfr}")
    mean, deviation = _numbers(metadata, "neg_mean"), _numbers(metadata, "inv_stddev")
    if len(mean) != len(deviation) or len(mean) % (2 * LFR_WINDOW):
        got = f"{len(mean)} and {len(deviation)}"
        raise BundleError(f"{encoder.file}: metadata neg_mean and inv_stddev: expected as many, got {got}")
    width, blocks = metadata.integer("encoder_output_size", 1), metadata.integer("decoder_num_blocks", 1)
    caches = (width, metadata.integer("decoder_kernel_size", 2) - 1)
    vocabulary = metadata.integer("vocab_size", _LAST_SPECIAL + 1)
    source.check_vocabulary(vocabulary)
    lengths = _check_inputs(encoder, decoder, len(mean), width, blocks, caches)
    spec = FeatureSpec("paraformer", _FRAMES, ROWS * LFR_SHIFT, len(mean) // LFR_WINDOW)
    scale = (deviation * np.float32(np.sqrt(width))).astype(np.float32)
    files = _Files(encoder, decoder, spec, mean, scale, width, caches, blocks, lengths)
    _try(files, vocabulary)
    return files


def _check_inputs(
    encoder: Model, decoder: Model, row: int, width: int, blocks: int, caches: Sequence[int]
) -> tuple[DataType, DataType, DataType]:
    """Check the inputs of both files; returns the types of the lengths of rows, of frames and of tokens."""
    check_counts(encoder, 2, 3)
    check_input(encoder, 0, [BATCH, FREE, row])
    rows = check_input(encoder, 1, [BATCH], INTEGERS)
    check_counts(decoder, 4 + blocks, 2 + blocks)
    check_input(decoder, 0, [BATCH, FREE, width])
    frames = check_input(decoder, 1, [BATCH], INTEGERS)
    check_input(decoder, 2, [BATCH, FREE, width])
    tokens = check_input(decoder, 3, [BATCH], INTEGERS)
    for index in range(4, 4 + blocks):
        check_input(decoder, index, [BATCH, *caches])
    return rows, frames, tokens


def _try(files: _Files, vocabulary: int) -> None:
    """Run both files once, and check what comes out."""
    rows, span = len(files.mean), OVERLAP + ROWS
    types = [NUMPY_TYPES[data_type] for data_type in files.lengths]
    encoded, _, weights = run_once(files.encoder, [zeros([1, span, rows]), np.full(1, span, types[0])])[:3]
    caches = [zeros([1, *files.caches])] * files.blocks
    given = [encoded, np.full(1, span, types[1]), zeros([1, 2, files.width]), np.full(1, 2, types[2]), *caches]
    logits, ids, *kept = run_once(files.decoder, given)[: 2 + files.blocks]
    expected: list[tuple[Model, Array, list[int]]] = [
        (files.encoder, encoded, [1, span, files.width]),
        (files.encoder, weights, [1, span]),
        (files.decoder, logits, [1, 2, vocabulary]),
        (files.decoder, ids, [1, 2]),
    ]
    # A decoder may return more of its past than it takes; the last columns count.
    expected += [(files.decoder, cache[..., -files.caches[1] :], [1, *files.caches]) for cache in kept]
    for model, output, dims in expected:
        if list(output.shape) != dims:
            raise BundleError(f"{model.file}: expected an output of {dims}, got {list(output.shape)}")


def _add_encoder(builder: GraphBuilder, files: _Files) -> tuple[str, str, str]:
    """Add front end and encoder; returns frames f32[1, 18, width], how many there are, and weights f32[1, 18]."""
    pcm = builder.input("pcm", "TYPE_FP32", [files.spec.chunk_samples])
    features, _ = add_features(builder, files.spec, pcm, pcm, pcm)
    rows = builder.op(
        "Concat", builder.state("rows", [OVERLAP, len(files.mean)]), _rows(builder, files, features), axis=1
    )
    builder.write("rows", builder.op("Slice", rows, *(builder.constant([at]) for at in (-OVERLAP, 1 << 40, 1))))
    count = builder.constant(np.full(1, OVERLAP + ROWS, NUMPY_TYPES[files.lengths[0]]))
    frames, length, weights = builder.inline(files.encoder.proto, "encoder", [rows, count])[:3]
    return frames, builder.cast(length, files.lengths[1]), weights


def _rows(builder: GraphBuilder, files: _Files, features: str) -> str:
    """Stack, normalise and place features f32[1, 61, mels]: rows f32[1, ROWS, 7 * mels].

    Sinusoids of the position in the segment are added: in float32, as sherpa-onnx has them.
    """
    size = len(files.mean)
    of_row = np.arange(ROWS)[:, None] * LFR_SHIFT + np.arange(LFR_WINDOW)
    stacked = builder.op("Gather", features, builder.constant(of_row), axis=1)
    stacked = builder.op("Reshape", stacked, builder.constant([0, ROWS, size]))
    centred = builder.op("Add", stacked, builder.constant(files.mean))
    scaled = builder.op("Mul", centred, builder.constant(files.scale))
    before = builder.state("position", [], "TYPE_INT64", group=GROUP)
    builder.write("position", builder.op("Add", before, builder.constant(np.array(ROWS))))
    places = builder.op("Add", builder.constant(np.arange(1, ROWS + 1)), before)
    places = builder.op("Unsqueeze", builder.cast(places, "TYPE_FP32"), builder.constant([1]))
    step = np.float32(-np.log(_PERIOD) / (size // 2 - 1))
    angles = builder.op("Mul", places, builder.constant(np.exp(np.arange(size // 2, dtype=np.float32) * step)))
    waves = builder.op("Concat", builder.op("Sin", angles), builder.op("Cos", angles), axis=1)
    return builder.op("Add", scaled, waves)


def _add_search(
    builder: GraphBuilder, files: _Files, frames: str, length: str, weights: str
) -> tuple[str, str, str, str]:
    """Add integrate-and-fire and the decoder; returns ids and log-probabilities of the rows and of the tail."""
    gathered = builder.state("gathered", [files.width], group=GROUP)
    fired = add_cif(
        builder,
        _middle(builder, frames),
        builder.op("Unsqueeze", _middle(builder, weights), builder.constant([2])),
        builder.state("weight", [1], group=GROUP),
        gathered,
    )
    builder.write("weight", fired.weight)
    builder.write("gathered", fired.gathered)
    memory = [builder.state(f"decoder_{block}", files.caches, group=GROUP) for block in range(files.blocks)]
    ids, logps, *memory = _add_tokens(builder, files, (frames, length), fired, memory)
    for block, rows in enumerate(memory):
        builder.write(f"decoder_{block}", rows)
    tail_ids, tail_logps = _add_tail(builder, files, (frames, length), fired, memory)
    return ids, logps, tail_ids, tail_logps


def _middle(builder: GraphBuilder, tensor: str) -> str:
    """The new rows of a chunk, one after the other: [1, 18, ...] to [ROWS, 1, ...]; the others weigh nothing."""
    rows = builder.op("Slice", tensor, *(builder.constant([at]) for at in (BACK, BACK + ROWS, 1)))
    return builder.op("Unsqueeze", builder.op("Squeeze", rows, builder.constant([0])), builder.constant([1]))


def _add_tokens(
    builder: GraphBuilder, files: _Files, encoded: tuple[str, str], fired: Fired, memory: Sequence[str]
) -> list[str]:
    """Decode all that has fired, if anything has; returns ids and log-probabilities [1, ROWS], and the new memory."""
    one = builder.constant([1])
    is_fired = builder.op("Squeeze", fired.is_fired, one)
    places = builder.op("NonZero", is_fired)
    embeddings = builder.op("Compress", builder.op("Squeeze", fired.embeddings, one), is_fired, axis=0)
    embeddings = builder.op("Unsqueeze", embeddings, builder.constant([0]))

    def decode(body: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        ids, logps, *kept = _decode(body, files, encoded, embeddings, carried[2:])
        said = (
            body.op("ScatterElements", row, places, new, axis=1)
            for row, new in zip(carried, (ids, logps), strict=False)
        )
        return LoopStep([*said, *kept])

    count = builder.op("Slice", builder.op("Shape", places), one, builder.constant([2]))
    trips = builder.op("Squeeze", builder.op("Min", count, one), builder.constant([0]))
    silence = builder.constant(np.full((1, ROWS), BLANK)), builder.constant(np.zeros((1, ROWS), np.float32))
    return builder.loop(trips, [*silence, *memory], decode)


def _add_tail(
    builder: GraphBuilder, files: _Files, encoded: tuple[str, str], fired: Fired, memory: Sequence[str]
) -> list[str]:
    """Decode what has gathered since the last token as if the segment ended here, if it is enough for one more."""
    embedding = builder.op("Unsqueeze", fired.gathered, builder.constant([1]))

    def decode(body: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        return LoopStep(_decode(body, files, encoded, embedding, memory)[:2])

    whole = builder.op("Add", fired.weight, builder.constant(np.float32(TAIL)))
    is_enough = builder.op("Not", builder.op("Less", whole, builder.constant(np.float32(1))))
    trips = builder.op("Squeeze", builder.cast(is_enough, "TYPE_INT64"), builder.constant([0, 1]))
    silence = builder.constant(np.full((1, 1), BLANK)), builder.constant(np.zeros((1, 1), np.float32))
    return builder.loop(trips, silence, decode)


def _decode(
    builder: GraphBuilder, files: _Files, encoded: tuple[str, str], embeddings: str, memory: Sequence[str]
) -> list[str]:
    """Turn embeddings f32[1, k, width] into ids i64[1, k], their log-probabilities and the memory after them."""
    count = builder.op("Slice", builder.op("Shape", embeddings), builder.constant([1]), builder.constant([2]))
    inputs = [*encoded, embeddings, builder.cast(count, files.lengths[2]), *memory]
    outputs = builder.inline(files.decoder.proto, "decoder", inputs)
    ids = builder.cast(outputs[1], "TYPE_INT64")
    logps = log_probabilities(builder, outputs[0], ids)
    is_special = builder.op("Not", builder.op("Greater", ids, builder.constant(np.array(_LAST_SPECIAL))))
    ids = builder.op("Where", is_special, builder.constant(np.array(BLANK)), ids)
    last = [builder.constant([at]) for at in (-files.caches[1], 1 << 40, 2)]
    return [ids, logps, *(builder.op("Slice", cache, *last) for cache in outputs[2 : 2 + files.blocks])]


def _numbers(metadata: Metadata, key: str) -> Array:
    """Return float32 numbers that are separated by commas."""
    try:
        numbers = np.array([float(field) for field in metadata.text(key).split(",")], np.float32)
    except ValueError:
        raise BundleError(
            f"{metadata.file}: metadata {key}: expected numbers, got {metadata.text(key)!r:.60}"
        ) from None
    if not np.isfinite(numbers).all():
        raise BundleError(f"{metadata.file}: metadata {key}: expected finite numbers, got {metadata.text(key)!r:.60}")
    return numbers
