"""What the manifest of a recogniser says: which tensor plays which role, and the constants of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.bundle.manifest import Audio, Graph, Manifest, Tensor
from streamer.errors import BundleError, ModelFault
from streamer.tasks.tokens import Vocabulary, read_tokens
from streamer.tasks.words import Timing
from streamer.work import Array, Tensors


@dataclass(frozen=True, slots=True)
class Frames:
    """What one step said: the frame of the stream it begins with, and per frame a token id and its log-probability."""

    first: int
    ids: Array
    logps: Array


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A greedy recogniser of one graph call per chunk, checked against its manifest.

    Roles: `pcm` (input, float32 `[chunk_samples]`), `token_ids` (int64 `[frames]`, blank where there is no token),
    `token_logp` (float32 `[frames]`). Parameters: `blank_id`, `frame_samples`, `token_delay_samples` (by how much a
    token comes after the sound it stands for) and `flush_samples` (silence needed after the last sample until every
    word has left the model). Asset: `tokens`.
    """

    graph: Graph
    audio: Audio
    ids: str
    logps: str
    blank_id: int
    flush_samples: int
    timing: Timing
    vocabulary: Vocabulary

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> Recogniser:
        """Read the roles, parameters and tokens of a bundle; raises `BundleError` saying what is missing or wrong."""
        graph, pcm = _role(manifest, "pcm", "TYPE_FP32")
        if graph.audio is None or graph.audio.input != pcm.name:
            raise BundleError(f"bundle {manifest.name}: role pcm: graph {graph.name} has no audio input {pcm.name}")
        ids_graph, ids = _role(manifest, "token_ids", "TYPE_INT64")
        logps_graph, logps = _role(manifest, "token_logp", "TYPE_FP32")
        if {ids_graph.name, logps_graph.name} != {graph.name}:
            raise BundleError(f"bundle {manifest.name}: expected pcm, token_ids and token_logp in one graph")
        assert manifest.sample_rate is not None  # the format requires it of a graph with audio
        timing = Timing(
            manifest.sample_rate, _parameter(manifest, "frame_samples", 1), _parameter(manifest, "token_delay_samples")
        )
        _check_lengths(manifest.name, graph, graph.audio, ids, timing.frame_samples)
        flush_samples = _parameter(manifest, "flush_samples", graph.audio.right_context_samples)
        if "tokens" not in manifest.task.assets:
            raise BundleError(f"bundle {manifest.name}: task transcribe needs the asset tokens")
        vocabulary = read_tokens(folder / manifest.task.assets["tokens"])
        blank_id = _parameter(manifest, "blank_id")
        return cls(graph, graph.audio, ids.name, logps.name, blank_id, flush_samples, timing, vocabulary)

    def frames(self, outputs: Tensors, frames_done: int) -> Frames:
        """Read the valid frames of a step's outputs; raises `ModelFault` for what the manifest does not allow."""
        ids, logps = self._output(outputs, self.ids), self._output(outputs, self.logps)
        if ids.ndim != 1 or ids.shape != logps.shape:
            raise ModelFault(f"expected one log-probability per token, got {logps.shape} for {ids.shape}")
        n_valid = self._count(outputs, self.graph.n_valid, len(ids))
        if not 0 <= n_valid <= len(ids):
            raise ModelFault(f"expected 0 to {len(ids)} valid frames, got {n_valid}")
        # Without valid frames the first one means nothing.
        first = self._count(outputs, self.graph.first_frame, frames_done) if n_valid else frames_done
        if first < frames_done:
            raise ModelFault(f"expected a first frame of at least {frames_done}, got {first}")
        return Frames(first, ids[:n_valid], logps[:n_valid])

    def _count(self, outputs: Tensors, name: str | None, default: int) -> int:
        return default if name is None else int(self._output(outputs, name).item())

    def _output(self, outputs: Tensors, name: str) -> Array:
        if name not in outputs:
            raise ModelFault(f"graph {self.graph.name} returned no {name}")
        return np.asarray(outputs[name])


def _role(manifest: Manifest, role: str, data_type: str) -> tuple[Graph, Tensor]:
    if role not in manifest.task.roles:
        raise BundleError(f"bundle {manifest.name}: task transcribe needs the role {role}")
    graph_name, name = manifest.role(role)
    graph = manifest.graph(graph_name)
    side = graph.inputs if role == "pcm" else graph.outputs
    tensor = next((tensor for tensor in side if tensor.name == name), None)
    if tensor is None:
        raise BundleError(f"bundle {manifest.name}: role {role}: {name} is on the wrong side of graph {graph_name}")
    if tensor.data_type != data_type or len(tensor.dims) != 1:
        got = f"{tensor.data_type} {list(tensor.dims)}"
        raise BundleError(f"bundle {manifest.name}: role {role}: expected {data_type} of one dimension, got {got}")
    return graph, tensor


def _parameter(manifest: Manifest, name: str, least: int = 0) -> int:
    value = manifest.task.parameters.get(name)
    if value is None:
        raise BundleError(f"bundle {manifest.name}: task transcribe needs the parameter {name}")
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BundleError(f"bundle {manifest.name}: parameter {name}: expected an integer from {least}, got {value!r}")
    return value


def _check_lengths(bundle: str, graph: Graph, audio: Audio, ids: Tensor, frame_samples: int) -> None:
    if audio.hop_samples > audio.chunk_samples:
        raise BundleError(f"bundle {bundle}: hop of {audio.hop_samples} samples exceeds chunk of {audio.chunk_samples}")
    frames = ids.dims[0]
    # Frames that do not add up to the audio would let word times drift away from it.
    if graph.n_valid is None and frames * frame_samples != audio.hop_samples:
        got = f"{frames} frames of {frame_samples} samples for a hop of {audio.hop_samples}"
        raise BundleError(f"bundle {bundle}: expected frames that cover the hop, or n_valid, got {got}")
