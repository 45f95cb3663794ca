"""Runs an imported graph over whole signals with ONNX Runtime alone: arenas in numpy, slots shuffled and dirty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnxruntime as ort

from streamer.bundle.sherpa.parts import Built


class Said(NamedTuple):
    id: int
    frame: int
    logp: float


class GraphStreams:
    """The graph `step` of what an importer built."""

    def __init__(self, built: Built) -> None:
        (graph,) = built.graphs
        assert graph.audio is not None
        self.built, self.audio, self.builder = built, graph.audio, graph.builder
        model = graph.builder.model().SerializeToString()
        self.session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])

    def run(self, signals: Sequence[np.ndarray], batched: bool, anew: int | None = None) -> list[list[Said]]:
        """What is said to each signal, as far as whole chunks of it go; see `steps`."""
        return [self._tokens(steps) for steps in self.steps(signals, batched, anew)]

    def steps(
        self, signals: Sequence[np.ndarray], batched: bool, anew: int | None = None
    ) -> list[list[dict[str, np.ndarray]]]:
        """The outputs of every step of each signal; streams take turns in one batch, or alone in a batch of one.

        Before chunk `anew` the group `search` starts.
        """
        rng = np.random.default_rng(1)
        arenas = {
            state.name: rng.integers(3, 9, (len(signals) + 1, *state.dims)).astype(state.dtype)
            for state in self.builder.states
        }
        slots = rng.permutation(len(signals))
        outputs: list[list[dict[str, np.ndarray]]] = [[] for _ in signals]
        for chunk in range(max(self._chunks(signal) for signal in signals)):
            ready = [row for row, signal in enumerate(signals) if chunk < self._chunks(signal)]
            for rows in [ready] if batched else [[row] for row in ready]:
                starts = {"encoder": chunk == 0, "search": chunk in (0, anew)}
                found = self._call([self._chunk(signals[row], chunk) for row in rows], slots[rows], starts, arenas)
                for index, row in enumerate(rows):
                    outputs[row].append({name: array[index] for name, array in found.items()})
        return outputs

    def _call(
        self, pcm: list[np.ndarray], slots: np.ndarray, start: dict[str, bool], arenas: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        starts = {f"start_{group}": np.full(len(pcm), start[group]) for group in self.builder.groups}
        feeds = {"pcm": np.stack(pcm), "slots_stream": slots.astype(np.int64), **starts, **arenas}
        names = [output.name for output in self.session.get_outputs()]
        found = dict(zip(names, self.session.run(names, feeds), strict=True))
        for name in arenas:
            arenas[name] = found.pop(f"{name}_out")
        return found

    def _tokens(self, steps: list[dict[str, np.ndarray]]) -> list[Said]:
        parameters, said, first = self.built.parameters, [], 0
        per_frame = parameters.get("symbols_per_frame", 1)
        for step in steps:
            for index in np.flatnonzero(step["token_ids"] != parameters["blank_id"]):
                token = int(step["token_ids"][index])
                said.append(Said(token, first + int(index) // per_frame, float(step["token_logp"][index])))
            first += len(step["token_ids"]) // per_frame
        return said

    def _chunks(self, signal: np.ndarray) -> int:
        return max(0, (len(signal) - self.audio.chunk_samples) // self.audio.hop_samples + 1)

    def _chunk(self, signal: np.ndarray, chunk: int) -> np.ndarray:
        begin = chunk * self.audio.hop_samples
        return signal[begin : begin + self.audio.chunk_samples]
