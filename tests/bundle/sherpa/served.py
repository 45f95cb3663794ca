"""Imported bundles, run in the engine: one stream alone, or many interleaved in slots that others have used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from streamer.bundle.loader import Bundle, load_bundle
from streamer.bundle.sherpa.importing import import_model
from streamer.bundle.sherpa.source import TOKENS, find_files
from streamer.bundle.sherpa.writer import About
from streamer.engine.runner import Runner
from streamer.tasks.tokens import read_tokens
from streamer.work import Lease, Row
from tests.engine.support import make_dirty, runner_of

_SAMPLES = Path(__file__).parents[2] / "samples"


@dataclass
class Said:
    """What one stream said: a row of ids and log-probabilities per chunk."""

    ids: list[np.ndarray] = field(default_factory=list)
    logps: list[np.ndarray] = field(default_factory=list)

    def tokens(self, blank: int, chunks: int) -> tuple[list[int], list[int], list[float]]:
        """Ids, frames and log-probabilities of the first `chunks` chunks, without blanks."""
        ids, logps = np.concatenate(self.ids[:chunks]), np.concatenate(self.logps[:chunks])
        frames = np.flatnonzero(ids != blank)
        return ids[frames].tolist(), frames.tolist(), logps[frames].tolist()


def import_bundle(source: Path, folder: Path) -> Bundle:
    """Import the model in `source` into the new `folder`."""
    folder.mkdir()
    tokens = source / TOKENS
    import_model(find_files(source), tokens, read_tokens(tokens).pieces, folder, About("toy"))
    return load_bundle(folder)


def speech(streams: int = 8) -> list[np.ndarray]:
    """Recorded speech f32[n] for some streams, each of another length from another place on.

    A little noise keeps every mel band away from zero, where its logarithm is nothing but rounding.
    """
    rng = np.random.default_rng(0)
    signals = [soundfile.read(path, dtype="float32")[0] for path in sorted(_SAMPLES.glob("*.flac"))]
    signals = [signal + 0.01 * rng.standard_normal(len(signal)).astype(np.float32) for signal in signals]
    return [signals[i % len(signals)][i * 1111 : 30000 + i * 5000] for i in range(streams)]


def run_alone(bundle: Bundle, signals: Sequence[np.ndarray]) -> list[Said]:
    """Run streams one after the other, each in the slot that the one before has left."""
    runner = runner_of(bundle)
    make_dirty(runner, seed=3)
    said = [Said() for _ in signals]
    for signal, one in zip(signals, said, strict=True):
        for turn in range(chunks_of(bundle, signal)):
            _step(runner, [(5, signal, one)], [turn])
    return said


def run_together(bundle: Bundle, signals: Sequence[np.ndarray], seed: int = 0) -> list[Said]:
    """Run all streams on one runner: at every turn some of them step, in any order."""
    rng = np.random.default_rng(seed)
    runner = runner_of(bundle, slots=len(signals) + 2)
    make_dirty(runner)
    slots = rng.permutation(len(signals) + 2)
    said = [Said() for _ in signals]
    turns = [0] * len(signals)
    while waiting := [i for i, turn in enumerate(turns) if turn < chunks_of(bundle, signals[i])]:
        now = [i for i in rng.permutation(waiting) if rng.random() < 0.7]
        _step(runner, [(int(slots[i]), signals[i], said[i]) for i in now], [turns[i] for i in now])
        for i in now:
            turns[i] += 1
    return said


def chunks_of(bundle: Bundle, signal: np.ndarray) -> int:
    """How many whole chunks a signal holds."""
    audio = bundle.manifest.graph("step").audio
    assert audio is not None
    return max(0, 1 + (len(signal) - audio.chunk_samples) // audio.hop_samples)


def _step(runner: Runner, streams: Sequence[tuple[int, np.ndarray, Said]], turns: Sequence[int]) -> None:
    graph = runner.bundle.manifest.graph("step")
    assert graph.audio is not None
    rows = []
    for (slot, signal, _), turn in zip(streams, turns, strict=True):
        start = turn * graph.audio.hop_samples
        pcm = signal[start : start + graph.audio.chunk_samples]
        leases = (Lease("toy@1.0.0", "stream", slot, 1),)
        rows.append(Row(leases, {"pcm": pcm}, frozenset(graph.groups) if turn == 0 else frozenset()))
    for (_, _, said), result in zip(streams, runner.run("step", rows), strict=True):
        assert result.error is None, result.error
        said.ids.append(result.outputs["token_ids"])
        said.logps.append(result.outputs["token_logp"])
