"""WeNet's streaming CTC models as sherpa-onnx exports them: caches of a fixed length, one stream at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.ctc import add_greedy_ctc
from streamer.bundle.sherpa.features import FeatureSpec, add_features
from streamer.bundle.sherpa.inline import opset_of
from streamer.bundle.sherpa.parts import Built, BuiltGraph, audio_of, task_parameters
from streamer.bundle.sherpa.signatures import BATCH, check_counts, check_input, dims_of, opened, zeros
from streamer.bundle.sherpa.source import Metadata, Model, Source
from streamer.bundle.sherpa.transducer import LEAST_OPSET
from streamer.errors import BundleError
from streamer.work import Array

_BLANKS = ("<blk>", "<eps>", "<blank>")
_MELS = 80
# Beyond so many chunks, hours of them, a table counts as endless.
_MOST_CHUNKS = 1 << 16
_GROUP = "search"
# What sherpa-onnx assumes of a file that does not say.
_CHUNK, _LEFT_CHUNKS = 16, 4


@dataclass(frozen=True, slots=True)
class _Encoder:
    """A checked file: features of `spec`, `chunk` frames out, attention over `left` frames before them.

    `attention` and `convolution` are the caches as the model takes them, without a batch axis.
    """

    model: Model
    spec: FeatureSpec
    chunk: int
    left: int
    attention: tuple[int, ...]
    convolution: tuple[int, ...]
    vocabulary: int

    def inputs(self, offset: int) -> list[Array]:
        """Silence after `offset` frames, for trials."""
        mask = np.ones((1, 1, self.left + self.chunk), np.bool_)
        caches = zeros(self.attention), zeros(self.convolution)
        return [zeros([1, self.spec.frames, self.spec.mels]), np.array([offset]), np.array([self.left]), *caches, mask]


def import_wenet_ctc(source: Source) -> Built:
    """Make the graph `step` of a WeNet CTC model; raises `BundleError`.

    The model counts frames and looks positions up in a table of its own. Its caches are of the group `search`, so an
    endpoint starts them anew, as in sherpa-onnx; and so does a stream that comes to the end of the table.
    """
    encoder = _read_encoder(source.models["model"])
    last = _last_offset(encoder)
    source.check_vocabulary(encoder.vocabulary)
    blank = source.token(*_BLANKS)
    if blank is None:
        raise BundleError(f"{source.tokens.name}: expected one of {', '.join(_BLANKS)}, got none")
    builder = GraphBuilder(max(LEAST_OPSET, opset_of(encoder.model.proto)))
    ids, logps = add_greedy_ctc(builder, _add_encoder(builder, encoder, last), blank)
    builder.output("token_ids", ids, "TYPE_INT64", [encoder.chunk])
    builder.output("token_logp", logps, "TYPE_FP32", [encoder.chunk])
    audio = audio_of(encoder.spec)
    roles = {name: f"step.{name}" for name in ("pcm", "token_ids", "token_logp")}
    graph = BuiltGraph("step", builder, audio, max_batch=1)
    return Built("WeNet CTC", (graph,), roles, task_parameters(audio, encoder.chunk, blank))


def _read_encoder(model: Model) -> _Encoder:
    metadata = model.metadata
    chunk, left = _integer_or(metadata, "chunk_size", _CHUNK), _integer_or(metadata, "left_chunks", _LEFT_CHUNKS)
    factor = metadata.integer("subsampling_factor", 1)
    frames = (chunk - 1) * factor + metadata.integer("right_context") + 1
    heads, width = metadata.integer("head", 1), metadata.integer("output_size", 1)
    blocks, kernel = metadata.integer("num_blocks", 1), metadata.integer("cnn_module_kernel", 2)
    vocabulary = metadata.integer("vocab_size", 2)
    if frames < chunk * factor:
        got = f"{metadata.integer('right_context')} for a subsampling_factor of {factor}"
        raise BundleError(f"{model.file}: metadata right_context: expected at least {factor - 1}, got {got}")
    attention = (blocks, heads, left * chunk, width // heads * 2)
    convolution = (blocks, 1, width, kernel - 1)
    check_counts(model, 6, 3)
    spec = FeatureSpec("wenet", frames, chunk * factor, _bands(model))
    check_input(model, 0, [BATCH, frames, spec.mels])
    for index in (1, 2):
        check_input(model, index, [1], ("TYPE_INT64",))
    for index, dims in ((3, attention), (4, convolution)):
        check_input(model, index, dims)
    check_input(model, 5, [1, 1, (left + 1) * chunk], ("TYPE_BOOL",))
    return _Encoder(model, spec, chunk, left * chunk, attention, convolution, vocabulary)


def _last_offset(encoder: _Encoder) -> int | None:
    """Try the model and check what comes out; returns the last chunk's offset its table has, None if it has no end."""
    model, run = encoder.model, opened(encoder.model)
    found = run(encoder.inputs(encoder.left))
    expected = ((1, encoder.chunk, encoder.vocabulary), encoder.attention, encoder.convolution)
    for output, dims in zip(found, expected, strict=False):
        if output.shape != dims:
            raise BundleError(f"{model.file}: expected an output of {list(dims)}, got {list(output.shape)}")
    good, bad = 0, _MOST_CHUNKS
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            run(encoder.inputs(encoder.left + middle * encoder.chunk))
        except BundleError:
            bad = middle
        else:
            good = middle
    return None if bad == _MOST_CHUNKS else encoder.left + good * encoder.chunk


def _add_encoder(builder: GraphBuilder, encoder: _Encoder, last: int | None) -> str:
    """Add front end, encoder and its states; returns the log-probabilities f32[1, chunk, V]."""
    pcm = builder.input("pcm", "TYPE_FP32", [encoder.spec.chunk_samples])
    carry = builder.state("carry", [encoder.spec.carry_samples])
    features, carry = add_features(builder, encoder.spec, pcm, carry, builder.start())
    builder.write("carry", carry)
    # Frames of the stream and as many as are cached: the caches begin as if that many had been.
    offset = builder.state("offset", [], "TYPE_INT64", initial=encoder.left, group=_GROUP)
    only = builder.constant([0])
    caches = [
        builder.op("Squeeze", builder.state(name, dims, group=_GROUP), only)
        for name, dims in (("attention", encoder.attention), ("convolution", encoder.convolution))
    ]
    if last is not None:
        is_over = builder.op("Greater", offset, builder.constant([last]))
        offset = builder.op("Where", is_over, builder.constant([encoder.left]), offset)
        caches = [builder.op("Where", is_over, builder.constant(np.float32(0)), cache) for cache in caches]
    inputs = [features, offset, builder.constant([encoder.left]), *caches, _mask(builder, encoder, offset)]
    scores, *caches = builder.inline(encoder.model.proto, "model", inputs)
    for name, cache in zip(("attention", "convolution"), caches, strict=False):
        builder.write(name, builder.op("Unsqueeze", cache, only))
    builder.write("offset", builder.op("Add", offset, builder.constant(np.array(encoder.chunk))))
    return scores


def _mask(builder: GraphBuilder, encoder: _Encoder, offset: str) -> str:
    """Which of the cached frames are of the stream, and all of the chunk: bool[1, 1, left + chunk]."""
    places = np.arange(encoder.left + encoder.chunk).reshape(1, 1, -1)
    # The stream has come `offset - left` frames so far, and they stand at the end of the cache.
    oldest = builder.op("Sub", builder.constant(np.array(2 * encoder.left)), offset)
    return builder.op("Not", builder.op("Less", builder.constant(places), oldest))


def _integer_or(metadata: Metadata, key: str, default: int) -> int:
    return metadata.integer(key, 1) if key in metadata.values else default


def _bands(model: Model) -> int:
    return (dims_of(model.inputs[0])[-1:] or (None,))[0] or _MELS
