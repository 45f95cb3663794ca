"""Continuous integrate-and-fire as ONNX nodes: frames are summed up by weight until a whole token has gathered.

Dong and Xu 2020, arXiv 1905.11235. Weights are below one, so a frame fires at most once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamer.bundle.sherpa.builder import GraphBuilder, LoopStep


class Fired(NamedTuple):
    """What came out: `is_fired` bool[U, B], `embeddings` f32[U, B, D], and what is left: f32[B, 1] and f32[B, D]."""

    is_fired: str
    embeddings: str
    weight: str
    gathered: str


def add_cif(builder: GraphBuilder, frames: str, weights: str, weight: str, gathered: str) -> Fired:
    """Integrate `frames` f32[U, B, D] by `weights` f32[U, B, 1], starting with what the chunk before left.

    One frame after the other and not by a cumulative sum: at the threshold the order of rounding decides.
    """

    def turn(body: GraphBuilder, index: str, carried: list[str]) -> LoopStep:
        frame, alpha = (body.op("Gather", tensor, index, axis=0) for tensor in (frames, weights))
        return _integrate(body, frame, alpha, *carried)

    trips = builder.op("Gather", builder.op("Shape", weights), builder.constant(0), axis=0)
    left, kept, is_fired, embeddings = builder.loop(trips, [weight, gathered], turn)
    return Fired(is_fired, embeddings, left, kept)


def _integrate(body: GraphBuilder, frame: str, alpha: str, weight: str, gathered: str) -> LoopStep:
    one = body.constant(np.float32(1))
    total = body.op("Add", weight, alpha)
    fires = body.op("Not", body.op("Less", total, one))
    missing = body.op("Sub", one, weight)
    surplus = body.op("Add", weight, body.op("Sub", alpha, one))
    embedding = body.op("Add", gathered, body.op("Mul", missing, frame))
    grown = body.op("Add", gathered, body.op("Mul", alpha, frame))
    next_weight = body.op("Where", fires, surplus, total)
    next_gathered = body.op("Where", fires, body.op("Mul", surplus, frame), grown)
    return LoopStep((next_weight, next_gathered), (body.op("Squeeze", fires, body.constant([-1])), embedding))
