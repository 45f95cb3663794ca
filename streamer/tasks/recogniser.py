"""What the manifest of a recogniser says: which tensor plays which role, and the constants of its frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.bundle.manifest import Audio, Graph, Manifest, Tensor
from streamer.errors import BundleError, ModelFault
from streamer.tasks.roles import Roles
from streamer.tasks.tokens import Vocabulary, read_tokens
from streamer.tasks.words import Calibration, Timing
from streamer.work import Array, Tensors


@dataclass(frozen=True, slots=True)
class Frames:
    """What one step said: the frame of the stream it begins with, and token ids with their log-probabilities.

    The `per_frame` tokens of a frame follow each other; blank fills what a frame does not say.
    """

    first: int
    ids: Array
    logps: Array
    per_frame: int = 1

    @property
    def end(self) -> int:
        """The frame after the last one."""
        return self.first + len(self.ids) // self.per_frame

    def frame(self, index: int) -> int:
        """Return the frame of the stream that the token at `index` belongs to."""
        return self.first + index // self.per_frame


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A greedy recogniser of one graph call per chunk, checked against its manifest.

    Roles: `pcm` (input, float32 `[chunk_samples]`), `token_ids` (int64 `[frames * symbols_per_frame]`, blank where
    there is no token), `token_logp` (float32, the same length). Parameters: `blank_id`, `frame_samples`,
    `token_delay_samples` (by how much a token comes after the sound it stands for), `flush_samples` (silence needed
    after the last sample until every word has left the model), `symbols_per_frame` (1 if left out). Asset: `tokens`.

    Optional roles `tail_token_ids` and `tail_token_logp`, of the same types: the tokens that the search still holds
    back and would say if the segment ended with this step. They belong to its last frame. Optional parameters, both or
    none: `confidence_slope` and `confidence_bias`, see `Calibration`.
    """

    graph: Graph
    audio: Audio
    ids: str
    logps: str
    blank_id: int
    flush_samples: int
    timing: Timing
    vocabulary: Vocabulary
    symbols_per_frame: int = 1
    tail: tuple[str, str] | None = None
    calibration: Calibration | None = None

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> Recogniser:
        """Read the roles, parameters and tokens of a bundle; raises `BundleError` saying what is missing or wrong."""
        roles = Roles(manifest, "task transcribe")
        graph, pcm = roles.input("pcm", "TYPE_FP32")
        if graph.audio is None or graph.audio.input != pcm.name:
            raise BundleError(f"bundle {manifest.name}: role pcm: graph {graph.name} has no audio input {pcm.name}")
        ids_graph, ids = roles.output("token_ids", "TYPE_INT64")
        logps_graph, logps = roles.output("token_logp", "TYPE_FP32")
        if {ids_graph.name, logps_graph.name} != {graph.name}:
            raise BundleError(f"bundle {manifest.name}: expected pcm, token_ids and token_logp in one graph")
        symbols = roles.integer("symbols_per_frame", 1, default=1)
        assert manifest.sample_rate is not None  # the format requires it of a graph with audio
        frame_samples, token_delay = roles.integer("frame_samples", 1), roles.integer("token_delay_samples")
        timing = Timing(manifest.sample_rate, frame_samples, token_delay)
        _check_lengths(manifest.name, graph, graph.audio, ids, timing.frame_samples, symbols)
        flush_samples = roles.integer("flush_samples", graph.audio.right_context_samples)
        if "tokens" not in manifest.task.assets:
            raise BundleError(f"bundle {manifest.name}: task transcribe needs the asset tokens")
        vocabulary = read_tokens(folder / manifest.task.assets["tokens"])
        blank_id = roles.integer("blank_id")
        return cls(
            graph, graph.audio, ids.name, logps.name, blank_id, flush_samples, timing, vocabulary, symbols,
            _tail_outputs(roles, graph),
            read_calibration(manifest, "confidence"),
        )  # fmt: skip

    def frames(self, outputs: Tensors, frames_done: int, started_at: int = 0) -> Frames:
        """Read the valid frames of a step's outputs; raises `ModelFault` for what the manifest does not allow.

        `started_at` is the frame of the stream that a graph which counts frames calls 0.
        """
        ids, logps = self._output(outputs, self.ids), self._output(outputs, self.logps)
        if ids.ndim != 1 or ids.shape != logps.shape:
            raise ModelFault(f"expected one log-probability per token, got {logps.shape} for {ids.shape}")
        most = len(ids) // self.symbols_per_frame
        n_valid = self._count(outputs, self.graph.n_valid, most)
        if not 0 <= n_valid <= most:
            raise ModelFault(f"expected 0 to {most} valid frames, got {n_valid}")
        # Without valid frames the first one means nothing.
        first = started_at + self._count(outputs, self.graph.first_frame, frames_done - started_at)
        first = first if n_valid else frames_done
        if first < frames_done:
            raise ModelFault(f"expected a first frame of at least {frames_done}, got {first}")
        count = n_valid * self.symbols_per_frame
        return Frames(first, ids[:count], logps[:count], self.symbols_per_frame)

    def held_back(self, outputs: Tensors, frames_done: int) -> Frames | None:
        """Read what the search would still say if the segment ended now, after `frames_done` frames; None: nothing."""
        if self.tail is None:
            return None
        ids, logps = (self._output(outputs, name) for name in self.tail)
        if ids.ndim != 1 or ids.shape != logps.shape:
            raise ModelFault(f"expected one log-probability per held back token, got {logps.shape} for {ids.shape}")
        return Frames(max(frames_done - 1, 0), ids, logps, max(len(ids), 1))

    def _count(self, outputs: Tensors, name: str | None, default: int) -> int:
        return default if name is None else int(self._output(outputs, name).item())

    def _output(self, outputs: Tensors, name: str) -> Array:
        if name not in outputs:
            raise ModelFault(f"graph {self.graph.name} returned no {name}")
        return np.asarray(outputs[name])


def read_calibration(manifest: Manifest, prefix: str) -> Calibration | None:
    """Read the parameters `<prefix>_slope` and `<prefix>_bias`, None without both; raises `BundleError`."""
    found = {end: manifest.task.parameters.get(f"{prefix}_{end}") for end in ("slope", "bias")}
    if found["slope"] is None and found["bias"] is None:
        return None
    for end, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BundleError(f"bundle {manifest.name}: parameter {prefix}_{end}: expected a number, got {value!r}")
    return Calibration(float(found["slope"]), float(found["bias"]))  # type: ignore[arg-type]


def _tail_outputs(roles: Roles, graph: Graph) -> tuple[str, str] | None:
    types = {"tail_token_ids": "TYPE_INT64", "tail_token_logp": "TYPE_FP32"}
    if not types.keys() & roles.manifest.task.roles.keys():
        return None
    found = [roles.output(role, data_type) for role, data_type in types.items()]
    if {owner.name for owner, _ in found} != {graph.name}:
        raise BundleError(f"bundle {roles.manifest.name}: expected {' and '.join(types)} in graph {graph.name}")
    ids, logps = (tensor for _, tensor in found)
    return ids.name, logps.name


def _check_lengths(bundle: str, graph: Graph, audio: Audio, ids: Tensor, frame_samples: int, symbols: int) -> None:
    if audio.hop_samples > audio.chunk_samples:
        raise BundleError(f"bundle {bundle}: hop of {audio.hop_samples} samples exceeds chunk of {audio.chunk_samples}")
    frames, rest = divmod(ids.dims[0], symbols)
    if rest:
        raise BundleError(f"bundle {bundle}: expected a multiple of {symbols} symbols per frame, got {ids.dims[0]}")
    # Frames that do not add up to the audio would let word times drift away from it.
    if graph.n_valid is None and frames * frame_samples != audio.hop_samples:
        got = f"{frames} frames of {frame_samples} samples for a hop of {audio.hop_samples}"
        raise BundleError(f"bundle {bundle}: expected frames that cover the hop, or n_valid, got {got}")
