"""What an importer makes of a model: graphs and how the task uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamer.bundle.manifest import Audio
from streamer.bundle.sherpa.builder import GraphBuilder
from streamer.bundle.sherpa.features import FeatureSpec
from streamer.bundle.sherpa.filterbank import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class BuiltGraph:
    """One graph, ready to be written; `max_batch` is 1 where the model takes one stream at a time."""

    name: str
    builder: GraphBuilder
    audio: Audio | None = None
    max_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A recogniser of task `transcribe` at `sample_rate`; `kind` says in words what it was.

    `program` names a search on the host that the roles allow.
    """

    kind: str
    graphs: tuple[BuiltGraph, ...]
    roles: Mapping[str, str]
    parameters: Mapping[str, int]
    sample_rate: int = SAMPLE_RATE
    program: str | None = None


def audio_of(spec: FeatureSpec) -> Audio:
    """How a graph with the front end `spec` and the input `pcm` consumes audio."""
    return Audio(
        input="pcm",
        chunk_samples=spec.chunk_samples,
        hop_samples=spec.hop_samples,
        right_context_samples=spec.chunk_samples - spec.hop_samples,
        delay_samples=spec.chunk_samples,
    )


def task_parameters(audio: Audio, frames: int, blank_id: int) -> dict[str, int]:
    """The parameters of task `transcribe` for `frames` output frames a step.

    Models speak of a sound a few frames late, so after its right context one more hop of silence lets the last word
    out.
    """
    return {
        "blank_id": blank_id,
        "frame_samples": audio.hop_samples // frames,
        "token_delay_samples": 0,
        "flush_samples": audio.right_context_samples + audio.hop_samples,
    }
