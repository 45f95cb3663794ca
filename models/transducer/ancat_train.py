"""Train a transducer with look-ahead from trained chunked weights, for a fixed number of updates.

Siblings that differ in `--mode` and `--weight` alone see the same clips in the same order, so they compare.
"""

import argparse
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from models.common.text import Pieces
from models.common.training import Trainer
from models.transducer.ancat import AncatTransducer, LookAhead, Mode, annealed
from models.transducer.ancat_delay import expected_delay
from models.transducer.config import Config
from models.transducer.data import CONTINUED, Batch, Batches
from models.transducer.train import CountedTrainer, counted_settings, initial_weights, recognition_loss
from models.transducer.validation import dev_clips, report

# Shares of the run: recognition alone teaches first what look-ahead is good for.
_FREE, _RAMP = 0.4, 0.2


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pieces = Pieces(arguments.features / "pieces.model")
    config = Config(vocabulary=len(pieces), dropout=arguments.dropout)
    look_ahead = LookAhead(arguments.mode, tuple(arguments.layers), arguments.reach)
    model = AncatTransducer(config, look_ahead)
    model.start_from(initial_weights(arguments.init))
    described = stored(config, look_ahead, arguments.weight)
    trainer = CountedTrainer(model, counted_settings(arguments), described, arguments.updates)
    seed = arguments.seed + trainer.progress.updates
    batches = Batches(arguments.features, pieces, lambda: trainer.fraction, arguments.batch, seed, CONTINUED)
    evaluate = partial(_evaluate, AncatTransducer(config, look_ahead), pieces, arguments.features)
    trainer.run(iter(batches), partial(_loss, trainer, arguments.weight), evaluate)


def stored(config: Config, look_ahead: LookAhead, weight: float) -> dict:
    """What a checkpoint says of its model; see `ancat_export.load_checkpoint`."""
    return {**asdict(config), "look_ahead": asdict(look_ahead), "delay_weight": weight}


def delay_weight(weight: float, progress: float) -> float:
    """The weight of the delay at `progress` of a run: none for 40 %, then a ramp of 20 %."""
    return weight * min(max((progress - _FREE) / _RAMP, 0.0), 1.0)


def mean_delay(gates: list[Tensor], frames: Tensor) -> Tensor:
    """Mean expected delay in frames over the valid `frames` i64[B] of a batch."""
    delay = expected_delay(gates)
    valid = torch.arange(delay.shape[1], device=delay.device) < frames[:, None]
    return (delay * valid).sum() / valid.sum()


def _loss(trainer: Trainer, weight: float, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
    model, batch = trainer.model, batch.to(trainer.settings.device)
    frames, gates = model.encoder.look(batch.log_mel, annealed(trainer.fraction))
    total, parts = recognition_loss(model, frames, batch, CONTINUED, trainer.fraction)
    if gates:
        delay = mean_delay(gates, batch.frames)
        parts["delay"] = delay.item()
        # Gates that are always open have nothing to learn.
        total = total + delay_weight(weight, trainer.fraction) * delay
    return total, parts, batch.audio_s


def _evaluate(model: AncatTransducer, pieces: Pieces, features: Path, weights: dict[str, Tensor]) -> str:
    model.load_state_dict(weights)
    name = "unseen speakers"
    return report(model, pieces, dev_clips(features, name)[::3], name)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, required=True, help="folder written by prepare")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--init", type=Path, required=True, help="checkpoint or bundle to start from")
    parser.add_argument("--mode", choices=get_args(Mode), default="adaptive")
    parser.add_argument("--weight", type=float, default=0.01, help="loss per frame of mean delay")
    parser.add_argument("--layers", type=int, nargs="+", default=LookAhead.layers, help="layers that look ahead")
    parser.add_argument("--reach", type=int, default=LookAhead.reach, help="frames each of them may look ahead")
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--batch", type=float, default=16.0, help="seconds of audio; doubled in the last third")
    parser.add_argument("--rate", type=float, default=4e-4, help="peak learning rate")
    parser.add_argument("--dropout", type=float, default=0.1, help="of each residual branch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
