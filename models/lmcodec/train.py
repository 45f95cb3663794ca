"""Count the tables, then train the integer network and the predictor, each for a wall-clock time; restarts continue."""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.common.allocator import keep_freed_memory
from models.common.training import Schedule, Settings, Trainer
from models.lmcodec.config import Config, PredictorConfig
from models.lmcodec.data import FRAMES_PER_SECOND, Codes, Crops, read_codes
from models.lmcodec.network import Network
from models.lmcodec.predictor import Predictor
from models.lmcodec.tables import Shape, bits, build_tables

Clock = Callable[[], float]

PARTS = ("tables", "network", "predictor")
TABLES = "tables.npz"
# From this share of the time on, the network is trained with the rounding that it will have.
_QUANTISED_FROM = 0.75
_TUNE_CROPS = 40
# All of 64 contexts a book: 1.5 MB of frequencies.
_SHAPES = (Shape(32, 2), Shape(16, 4), Shape(8, 8))


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    codes = read_codes(arguments.codes)
    if arguments.part == "tables":
        write_tables(codes, arguments.out)
    else:
        train = train_network if arguments.part == "network" else train_predictor
        schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, warmup_updates=50, hold=0.4)
        train(codes, arguments.out / arguments.part, schedule)


def write_tables(codes: Codes, out: Path) -> None:
    """Count the training codes into `out/tables.npz`, with as many classes as do best on the tuning clips."""
    out.mkdir(parents=True, exist_ok=True)
    best = float("inf")
    for shape in _SHAPES:
        arrays = build_tables(codes.of("train"), codes.size, shape)
        each = bits(arrays, codes.of("tune"))
        print(f"{shape}: bits of each book on tuning clips {', '.join(f'{book:.2f}' for book in each)}", flush=True)
        if each.sum() < best:
            best = float(each.sum())
            np.savez_compressed(out / TABLES, **arrays)


def train_network(
    codes: Codes, out: Path, schedule: Schedule, config: Config | None = None, clock: Clock = time.monotonic
) -> None:
    """Train the integer network: real numbers first, then quantised."""
    config = config or Config()
    model = Network(config)
    if not (out / "checkpoint.pt").exists():
        tables = build_tables(
            [clip[:, : config.books] for clip in codes.of("train")], codes.size, Shape(config.previous, config.below)
        )
        model.begin(tables, torch.from_numpy(codes.words))
    trainer = _trainer(model, out, schedule, asdict(config), clock)

    def loss(batch: Tensor) -> tuple[Tensor, dict[str, float], float]:
        model.limit()
        batch = batch[..., : config.books]
        logits = model(batch, quantised=trainer.fraction >= _QUANTISED_FROM)
        return _cross_entropy(math.log(2) * logits, batch)

    def evaluate(weights: dict[str, Tensor]) -> str:
        copy = Network(config)
        copy.load_state_dict(model.state_dict() | weights)
        copy.limit()
        return _report(lambda batch: math.log(2) * copy(batch[..., : config.books], quantised=True), codes, 0)

    _run(trainer, codes, loss, evaluate, books_vary=True)


def train_predictor(
    codes: Codes, out: Path, schedule: Schedule, config: PredictorConfig | None = None, clock: Clock = time.monotonic
) -> None:
    """Train the predictor of fine codes."""
    config = config or PredictorConfig()
    model = Predictor(config)
    model.bias.data.copy_(math.log(2) * _log2_frequencies(codes, range(config.given, config.books)))
    model.begin(torch.from_numpy(codes.words))
    trainer = _trainer(model, out, schedule, asdict(config), clock)
    generator = torch.Generator().manual_seed(trainer.progress.updates)

    def loss(batch: Tensor) -> tuple[Tensor, dict[str, float], float]:
        return _cross_entropy(model(batch, heard=_misheard(batch, config, generator)), batch[..., config.given :])

    def evaluate(weights: dict[str, Tensor]) -> str:
        copy = Predictor(config)
        copy.load_state_dict(model.state_dict() | weights)
        return _report(copy, codes, config.given)

    _run(trainer, codes, loss, evaluate, books_vary=False)


def _trainer(model: nn.Module, out: Path, schedule: Schedule, config: dict, clock: Clock) -> Trainer:
    out.mkdir(parents=True, exist_ok=True)
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}
    settings = Settings(schedule, out, log_every=20, checkpoint_every_s=60, evaluate_every_s=240, clip=1.0)
    return Trainer(model, settings, plain, clock)


def _run(trainer: Trainer, codes: Codes, loss: Callable, evaluate: Callable, books_vary: bool) -> None:
    rng = np.random.default_rng(trainer.progress.updates)
    crops = Crops(codes.of("train"), rng, books_vary)
    trainer.run(_batches(crops), loss, torch.inference_mode()(evaluate))


def _batches(crops: Crops, size: int = 16) -> Iterator[Tensor]:
    while True:
        yield crops.draw(size)


def _cross_entropy(logits: Tensor, codes: Tensor) -> tuple[Tensor, dict[str, float], float]:
    """Mean over the codes that are there, in bits for the log."""
    total = nn.functional.cross_entropy(logits.flatten(0, -2).float(), codes.flatten(), ignore_index=-1)
    return total, {"bits": float(total.detach()) / math.log(2)}, codes.shape[0] * codes.shape[1] / FRAMES_PER_SECOND


def _misheard(codes: Tensor, config: PredictorConfig, generator: torch.Generator) -> Tensor:
    """Codes as the predictor will find them in its past: some fine ones wrong, for it will have guessed them."""
    wrong = torch.rand(codes.shape, generator=generator) < 0.15
    wrong[..., : config.given] = False
    return torch.where(wrong & (codes >= 0), torch.randint(config.size, codes.shape, generator=generator), codes)


def _report(model: Callable[[Tensor], Tensor], codes: Codes, first: int) -> str:
    """Bits of each book from `first` on over crops of tuning clips."""
    batch = Crops(codes.of("tune"), np.random.default_rng(1), books_vary=False).draw(_TUNE_CROPS)
    found = []
    for part in batch.split(4):
        logits = model(part).float()
        wanted = part[..., first : first + logits.shape[2]]
        found.append(nn.functional.cross_entropy(logits.movedim(-1, 1), wanted, ignore_index=-1, reduction="none"))
    mean = torch.cat(found).mean((0, 1)) / math.log(2)
    return f"tuning clips: {float(mean.mean()):.3f} bits, each book {', '.join(f'{book:.2f}' for book in mean)}"


def _log2_frequencies(codes: Codes, books: range) -> Tensor:
    """Log frequencies of the training codes of some books in bits, f32[books, size], each row's mean at zero."""
    every = np.concatenate(codes.of("train"))
    counts = np.stack([np.bincount(every[:, book], minlength=codes.size) for book in books]) + 1.0
    log = torch.from_numpy(np.log2(counts)).float()
    return log - log.mean(1, keepdim=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--codes", type=Path, required=True, help="codes written by models.lmcodec.data")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables and checkpoints")
    parser.add_argument("--budget-minutes", type=float, default=12.0, help="training time over all restarts")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    return parser.parse_args()


if __name__ == "__main__":
    main()
