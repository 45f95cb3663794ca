"""Toy codecs with random weights, their bundles, and streams to run through them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from models.codec.config import LOST, ORDINARY, SILENT, Config, Side, stream_codec
from models.codec.export import decode_graph, encode_graph, export_bundle, round_codec
from models.codec.model import Codec
from models.common.parity import Chunks, torch_alone
from streamer.engine.runner import Runner
from streamer.work import Lease, Row

ABOUT = {"name": "toy-codec", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}
# Rows of 20 ms at 100 rows a second, as the default; and at 400, as StreamCodec2.
TOYS = {
    "default": Config(
        encoder=Side(width=16, inner=24, blocks=2, low_blocks=1, resample=2),
        decoder=Side(width=16, inner=24, blocks=2, low_blocks=1),
        latent=8, books=6, bits=4, levels=(),
    ),
    "stream_codec": replace(
        stream_codec(),
        encoder=Side(width=16, inner=24, blocks=2, enter=7, leave=7, resample=2),
        decoder=Side(width=16, inner=24, blocks=2, enter=7, leave=7, resample=2),
        latent=8, bits=4, levels=(4, 4), code_width=4,
    ),
}  # fmt: skip


def toy_codec(name: str, seed: int = 3) -> Codec:
    """Random weights such as a bundle holds, and books that lie where the latents of noise do."""
    torch.manual_seed(seed)
    model = Codec(TOYS[name]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += torch.randn_like(parameter) * 0.3
        model.quantiser.absent += torch.randn_like(model.quantiser.absent) * 0.3
        latents = model.encoder(torch.randn(8, 100 * model.config.frame_samples) * 0.1).flatten(0, 1)
        model.quantiser.begin(latents)
    round_codec(model)
    return model


def write_toy(folder: Path, model: Codec) -> Path:
    """Export `model` to `folder` with a card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("Random weights.\n", encoding="utf-8")
    export_bundle(model, folder, ABOUT, card=folder / "README.md")
    return folder


def pcm_stream(rng: np.random.Generator, steps: int, frames: int, model: Codec) -> list[dict[str, np.ndarray]]:
    """Noise whose level changes, `frames` frames a step."""
    levels = rng.uniform(0, 0.3, (steps, frames, 1))
    samples = rng.standard_normal((steps, frames, model.config.frame_samples)) * levels
    return [{"pcm": chunk} for chunk in samples.astype(np.float32)]


def code_stream(rng: np.random.Generator, steps: int, frames: int, config: Config) -> list[dict[str, np.ndarray]]:
    """Random codes of bitrates that change from step to step, and frames that are lost or silent."""
    codes = rng.integers(0, config.words, (steps, frames, config.books))
    count = rng.integers(1, config.books + 1, (steps, 1, 1))
    codes = np.where(np.arange(config.books) < count, codes, -1)
    kinds = rng.choice([ORDINARY, LOST, SILENT], (steps, frames), p=[0.6, 0.3, 0.1])
    return [{"codes": codes[t], "kind": kinds[t]} for t in range(steps)]


def encoded(model: Codec, chunks: Chunks) -> np.ndarray:
    """Codes i64[T, Q] of a stream, by the torch step alone."""
    return torch_alone(encode_graph(model), chunks)["codes"].reshape(-1, model.config.books)


def decoded(model: Codec, chunks: Chunks) -> np.ndarray:
    """PCM f32[T, frame_samples] of a stream, by the torch step alone."""
    return torch_alone(decode_graph(model), chunks)["pcm"].reshape(-1, model.config.frame_samples)


def one_step(chunks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """All frames of a stream as one chunk."""
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def recut(chunks: list[dict[str, np.ndarray]], lengths: list[int]) -> list[dict[str, np.ndarray]]:
    """The same frames in chunks of other lengths."""
    whole, ends = one_step(chunks), np.cumsum([0, *lengths])
    return [{name: frames[a:b] for name, frames in whole.items()} for a, b in pairwise(ends)]


def run(runner: Runner, graph: str, slot: int, chunks: list[dict[str, np.ndarray]], start: bool = True) -> np.ndarray:
    """The one output of a stream, alone in a slot of the server's runner, joined over its steps."""
    entry, leases, found = runner.bundle.manifest.graph(graph), (Lease(runner.bundle.key, "stream", slot, 0),), []
    for t, chunk in enumerate(chunks):
        (result,) = runner.run(graph, [Row(leases, chunk, frozenset(entry.groups if start and t == 0 else ()))])
        assert result.error is None, result.error
        found.append(np.array(result.outputs[entry.outputs[0].name]))
    return np.concatenate(found)
