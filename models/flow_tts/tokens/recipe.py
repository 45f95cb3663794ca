"""What the recipes of the token path share: arguments, settings and seeds."""

import argparse
from pathlib import Path

import torch

from models.common.allocator import keep_freed_memory
from models.common.training import Schedule, Settings

_SEEDS_APART = 1_000_003
_SECONDS = 60.0


def parser(about: str, rate: float, batch: int) -> argparse.ArgumentParser:
    """Arguments that every recipe has."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--pool", type=Path, required=True, help="folder of the recordings and their alignments")
    made.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    made.add_argument("--budget-minutes", type=float, default=60.0, help="training time over all restarts")
    made.add_argument("--evaluate-minutes", type=float, default=5.0)
    made.add_argument("--batch", type=int, default=batch, help="utterances in a batch")
    made.add_argument("--rate", type=float, default=rate, help="peak learning rate")
    made.add_argument("--hold", type=float, default=0.3, help="share of the time before the rate falls")
    made.add_argument("--warmup", type=int, default=300, help="updates until the peak rate")
    made.add_argument("--weight-decay", type=float, default=1e-2)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--seed", type=int, default=0)
    return made


def settings(arguments: argparse.Namespace) -> Settings:
    """Make the folder, seed torch, and say how to train."""
    keep_freed_memory()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(_SECONDS * arguments.budget_minutes, arguments.rate, arguments.warmup, arguments.hold)
    return Settings(
        schedule, arguments.out, weight_decay=arguments.weight_decay, clip=1.0, ema_decay=0.995,
        checkpoint_every_s=120, evaluate_every_s=_SECONDS * arguments.evaluate_minutes,
    )  # fmt: skip


def seed_of(arguments: argparse.Namespace, updates: int) -> int:
    """The seed of the batches that follow so many updates."""
    return int(arguments.seed * _SEEDS_APART + updates)
