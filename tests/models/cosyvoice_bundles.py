"""Bundles of toys of CosyVoice with two prompts, and their graphs run plainly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.flow_tts.cosyvoice.checkpoint import Checkpoint
from models.flow_tts.cosyvoice.export import export_bundle
from models.flow_tts.cosyvoice.reference import Row
from streamer.bundle.loader import load_bundle
from streamer.bundle.manifest import Manifest
from streamer.engine.runner import Runner
from streamer.work import Lease
from streamer.work import Row as EngineRow
from tests.models.cosyvoice_text import TEXTS, oracle, write_units
from tests.models.cosyvoice_toys import OPTIONS, TOKENS, toy_checkpoint

ABOUT = {"name": "toy-cosyvoice", "version": "0.0.1", "description": "random weights", "licence": "none"}
# Tokens of each prompt: none ends where a chunk does, and one is an embedding alone.
VOICES = {"eve": 11, "ada": 7, "ben": 0}


def voice(tokens: int) -> dict[str, np.ndarray]:
    """A prompt of so many tokens."""
    rng = np.random.default_rng(tokens)
    return {
        "text": np.array(oracle().encode("Hello" if tokens else ""), np.int64),
        "tokens": rng.integers(TOKENS, size=tokens),
        "mel": rng.standard_normal((2 * tokens, 80)).astype(np.float32),
        "speaker": rng.standard_normal(192).astype(np.float32),
    }


@dataclass(frozen=True)
class Toy:
    """A checkpoint and its bundle."""

    checkpoint: Checkpoint
    folder: Path

    @property
    def manifest(self) -> Manifest:
        return load_bundle(self.folder).manifest


def checkpoint_of(version: int) -> Checkpoint:
    """Random weights that are quick to export, for as many ids of text as the toy of their files has."""
    return toy_checkpoint(version, small=True, texts=TEXTS)


def write_toy(version: int, folder: Path) -> None:
    """Write its bundle to `folder/toy`."""
    card = folder / "card.md"
    card.write_text("A toy.\n", encoding="utf-8")
    checkpoint = replace(checkpoint_of(version), tokeniser=write_units(folder))
    voices = {name: voice(tokens) for name, tokens in VOICES.items()}
    export_bundle(checkpoint, OPTIONS, folder / "toy", ABOUT, card, upstream_noise=version == 2, voices=voices)


class EngineCalls:
    """One stream of a runner, in a slot of its own."""

    def __init__(self, runner: Runner, slot: int) -> None:
        self._runner, self._slot = runner, slot

    def __call__(self, graph: str, row: Row, start: bool) -> Mapping[str, Any]:
        manifest = self._runner.bundle.manifest
        entry = manifest.graph(graph)
        inputs = {tensor.name: np.asarray(row[tensor.name], tensor.dtype) for tensor in entry.inputs}
        leases = tuple(Lease(self._runner.bundle.key, pool, self._slot, 0) for pool in entry.pools)
        started = frozenset(entry.groups) if start else frozenset()
        (result,) = self._runner.run(graph, [EngineRow(leases, inputs, started)])
        assert result.error is None
        return result.outputs
