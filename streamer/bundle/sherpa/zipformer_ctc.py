"""Import of icefall's streaming zipformer2 with a CTC head: one file that returns log-probabilities."""

from __future__ import annotations

from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.ctc import add_greedy_ctc
from streamer.bundle.sherpa.encoder import add_encoder, read_encoder
from streamer.bundle.sherpa.inline import opset_of
from streamer.bundle.sherpa.parts import Built, BuiltGraph, audio_of, task_parameters
from streamer.bundle.sherpa.source import Source
from streamer.bundle.sherpa.transducer import LEAST_OPSET
from streamer.errors import BundleError

_BLANKS = ("<blk>", "<eps>", "<blank>")


def import_zipformer2_ctc(source: Source) -> Built:
    """Make the graph `step` of a zipformer2 CTC model; raises `BundleError`."""
    encoder = read_encoder(source.models["model"])
    source.check_vocabulary(encoder.width)
    blank = source.token(*_BLANKS)
    if blank is None:
        raise BundleError(f"{source.tokens.name}: expected one of {', '.join(_BLANKS)}, got none")
    builder = GraphBuilder(max(LEAST_OPSET, opset_of(encoder.model.proto)))
    ids, logps = add_greedy_ctc(builder, add_encoder(builder, encoder), blank)
    builder.output("token_ids", ids, "TYPE_INT64", [encoder.frames])
    builder.output("token_logp", logps, "TYPE_FP32", [encoder.frames])
    audio = audio_of(encoder.features)
    return Built(
        "zipformer2 CTC",
        (BuiltGraph("step", builder, audio, None if encoder.takes_batches else 1),),
        {"pcm": "step.pcm", "token_ids": "step.token_ids", "token_logp": "step.token_logp"},
        task_parameters(audio, encoder.frames, blank),
    )
