"""Greedy CTC search as ONNX nodes: the best token of every frame, repetitions collapsed across chunks."""

from __future__ import annotations

import numpy as np

from streamer.bundle.sherpa.builder import GraphBuilder

LAST = "last_token"
_NOTHING = -1


def add_greedy_ctc(builder: GraphBuilder, scores: str, blank: int) -> tuple[str, str]:
    """Add the search; returns ids i64[B, U], blank where nothing new is said, and log-probabilities f32[B, U].

    `scores` f32[B, U, V] are logits or log-probabilities. The best token of the last frame is the state `LAST` of the
    group `search`: a token that goes on into the next chunk is said once.
    """
    before = builder.state(LAST, [1], "TYPE_INT64", initial=_NOTHING, group="search")
    best, logp = best_tokens(builder, scores)
    frames_before = builder.op("Slice", best, builder.constant([0]), builder.constant([-1]), builder.constant([1]))
    previous = builder.op("Concat", before, frames_before, axis=1)
    builder.write(LAST, builder.op("Gather", best, builder.constant([-1]), axis=1))
    no_token = builder.constant(np.array(blank, np.int64))
    is_silent = builder.op("Or", builder.op("Equal", best, previous), builder.op("Equal", best, no_token))
    ids = builder.op("Where", is_silent, no_token, best)
    return ids, builder.op("Where", is_silent, builder.constant(np.float32(0)), logp)


def best_tokens(builder: GraphBuilder, scores: str) -> tuple[str, str]:
    """Return the best token i64[...] of each row of `scores` f32[..., V] and its log-probability f32[...]."""
    best = builder.op("ArgMax", scores, axis=-1, keepdims=0)
    return best, log_probabilities(builder, scores, best)


def log_probabilities(builder: GraphBuilder, scores: str, tokens: str) -> str:
    """Return the log-probability f32[...] of each of `tokens` i64[...] by `scores` f32[..., V]."""
    last = builder.constant([-1])
    index = builder.op("Unsqueeze", tokens, last)
    logps = builder.op("GatherElements", builder.op("LogSoftmax", scores, axis=-1), index, axis=-1)
    return builder.op("Squeeze", logps, last)
