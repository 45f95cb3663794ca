"""Decode the packs once, then train the detector on endless mixes for a given wall-clock time; a restart continues."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.common.training import Schedule, Settings, Trainer
from models.vad.config import DELAY_FRAMES, Config
from models.vad.mixtures import RATE, Mixer, Mixing, frames_of
from models.vad.model import Detector
from models.vad.pool import Pool, write_pool

Batch = tuple[Tensor, Tensor]
"""PCM f32[B, n] and labels f32[B, T]."""
_TUNE_MIXES, _TUNE_SEED = 60, 1
# For a run that goes on from trained weights: more noise alone, and of more kinds.
HARDER = Mixing(noise_alone=0.45, real_noise=0.75, altered_noise=0.7)


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pool = arguments.pool or arguments.out / "pool"
    if not (pool / "clips.json").exists():
        write_pool(arguments.data, pool)
    config = Config()
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, warmup_updates=300)
    settings = Settings(schedule, arguments.out, weight_decay=1e-3, evaluate_every_s=600)
    model = Detector(config)
    if arguments.init:
        model.load_state_dict(torch.load(arguments.init, weights_only=True, map_location="cpu")["average"])
    trainer = Trainer(model, settings, plain(config))
    mixing = HARDER if arguments.init else Mixing()
    batches = draw_batches(Pool(pool, "train"), arguments.batch, trainer.progress.updates + arguments.seed, mixing)
    unseen = tuning_set(Pool(pool, "tune"), _TUNE_MIXES)
    trainer.run(batches, partial(loss, trainer.model), partial(evaluate, Detector(config), unseen))


def plain(config: Config) -> dict:
    """The config as what a checkpoint may hold."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def draw_batches(pool: Pool, size: int, seed: int, mixing: Mixing) -> Iterator[Batch]:
    """Yield batches of mixes for ever."""
    mixer = Mixer(pool, np.random.default_rng(seed), mixing)
    while True:
        yield collate([mixer.draw() for _ in range(size)])


def collate(mixes: list[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Stack mixes of one length."""
    samples, rows = zip(*mixes, strict=True)
    # Inaudible noise in place of digital silence, which no microphone gives.
    dither = np.random.default_rng(0).standard_normal(len(samples[0]), dtype=np.float32) * 1e-5
    pcm = np.clip(np.stack(samples), -1, 1) + dither
    return torch.from_numpy(pcm), torch.from_numpy(np.stack([frames_of(row) for row in rows])).float()


def loss(model: Detector, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
    """Cross entropy of each frame with the label of `DELAY_FRAMES` before."""
    samples, labels = batch
    # bf16 would save nothing at this size and blur the features.
    with torch.autocast("cpu", enabled=False):
        logits = model(samples)[:, DELAY_FRAMES:]
        labels = labels[:, : labels.shape[1] - DELAY_FRAMES]
        total = functional.binary_cross_entropy_with_logits(logits, labels)
    errors = ((logits > 0) != (labels > 0.5)).float().mean()
    return total, {"entropy": float(total.detach()), "errors": float(errors)}, samples.numel() / RATE


def tuning_set(pool: Pool, mixes: int) -> Batch:
    """The same mixes of tuning clips every time."""
    mixer = Mixer(pool, np.random.default_rng(_TUNE_SEED))
    return collate([mixer.draw() for _ in range(mixes)])


@torch.inference_mode()
def evaluate(model: Detector, batch: Batch, weights: dict[str, Tensor]) -> str:
    """Precision, recall and F1 of `weights` on `batch` at 0.5."""
    model.load_state_dict(weights)
    samples, labels = batch
    heard = torch.cat([model(part) for part in samples.split(10)])[:, DELAY_FRAMES:] > 0
    truth = labels[:, : labels.shape[1] - DELAY_FRAMES] > 0.5
    hits = float((heard & truth).sum())
    precision, recall = hits / max(float(heard.sum()), 1), hits / max(float(truth.sum()), 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return f"tuning mixes: precision {100 * precision:.1f} % recall {100 * recall:.1f} % F1 {100 * f1:.1f} %"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for decoded clips and checkpoints")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="training time over all restarts")
    parser.add_argument("--batch", type=int, default=16, help="mixes of 8 s in a batch")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--pool", type=Path, help="folder of the decoded clips, if not below --out")
    parser.add_argument("--init", type=Path, help="checkpoint to go on from, with more noise alone")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
