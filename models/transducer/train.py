"""Train the transducer on prepared shards for a given wall-clock time; a restart continues."""

import argparse
import math
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from models.common.text import BLANK, Pieces
from models.common.training import Schedule, Settings, Trainer
from models.transducer.config import Config
from models.transducer.data import CONTINUED, Batch, Batches, Curriculum
from models.transducer.export import load_bundle_weights
from models.transducer.loss import band_cells, band_starts, transducer_loss
from models.transducer.model import LETTERS_PER_FRAME, Transducer
from models.transducer.validation import dev_clips, report

_CTC_WEIGHT = 0.3
# Label positions for which the joiner is evaluated at each frame.
_BAND = 16


# Warm-up of a run of a given number of updates.
_WARMUP = 100


class CountedTrainer(Trainer):
    """A trainer whose run is over after a number of updates, so that runs compare on a machine shared with others."""

    def __init__(self, model: Transducer, settings: Settings, config: dict, updates: int) -> None:
        self._updates = updates
        super().__init__(model, settings, config)

    @property
    def fraction(self) -> float:
        """Share of the updates that are done."""
        return self.progress.updates / self._updates


def counted_settings(arguments: argparse.Namespace) -> Settings:
    """Settings of a `CountedTrainer`, which evaluates at its end alone."""
    schedule = Schedule(math.inf, peak=arguments.rate, warmup_updates=_WARMUP)
    return Settings(schedule, arguments.out, arguments.device, evaluate_every_s=math.inf)


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pieces = Pieces(arguments.features / "pieces.model")
    config = Config(vocabulary=len(pieces), dropout=arguments.dropout)
    model = Transducer(config)
    if arguments.init:
        model.load_state_dict(initial_weights(arguments.init))
    curriculum = CONTINUED if arguments.init else Curriculum()
    trainer = _trainer(model, asdict(config), arguments)
    batches = Batches(
        arguments.features,
        pieces,
        lambda: trainer.fraction,
        arguments.batch,
        trainer.progress.updates,
        curriculum,
        arguments.altered,
    )
    evaluate = partial(_evaluate, Transducer(config), pieces, arguments.features)
    trainer.run(iter(batches), partial(_loss, trainer, curriculum), evaluate)


def _trainer(model: Transducer, config: dict, arguments: argparse.Namespace) -> Trainer:
    if arguments.updates:
        return CountedTrainer(model, counted_settings(arguments), config, arguments.updates)
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, arguments.warmup)
    return Trainer(model, Settings(schedule, arguments.out, arguments.device), config)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, required=True, help="folder written by prepare")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--budget-minutes", type=float, default=105.0, help="training time over all restarts")
    parser.add_argument("--updates", type=int, help="train for so many updates, whatever time they take")
    parser.add_argument("--batch", type=float, default=16.0, help="seconds of audio; doubled in the last third")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--dropout", type=float, default=0.1, help="of each residual branch")
    parser.add_argument("--altered", type=float, default=1.0, help="share of the clips that are augmented in the end")
    parser.add_argument("--warmup", type=int, default=800, help="updates until the peak rate")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="checkpoint or bundle to start from")
    return parser.parse_args()


def initial_weights(source: Path) -> dict[str, Tensor]:
    """Read the weights of a bundle's folder, or the averaged ones of a checkpoint."""
    if source.is_dir():
        return load_bundle_weights(source)
    return torch.load(source, weights_only=True, map_location="cpu")["average"]


def _loss(trainer: Trainer, curriculum: Curriculum, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
    batch = batch.to(trainer.settings.device)
    frames = trainer.model.encoder(batch.log_mel)
    total, parts = recognition_loss(trainer.model, frames, batch, curriculum, trainer.fraction)
    return total, parts, batch.audio_s


def recognition_loss(
    model: Transducer, frames: Tensor, batch: Batch, curriculum: Curriculum, progress: float
) -> tuple[Tensor, dict[str, float]]:
    """Losses per label of encoded frames: the CTC heads alone at first, then the transducer with them at its side.

    `progress` is the share of the run that is over. Returns the loss and its parts for the log.
    """
    labels = batch.lengths.sum()
    log_probs = model.ctc(frames).float().log_softmax(-1)
    ctc = _ctc_loss(log_probs, batch) / labels
    total, parts = _CTC_WEIGHT * ctc, {"ctc": ctc.item()}
    if progress < curriculum.spelling:
        spelling = _spelling_loss(model.spell(frames).float().log_softmax(-1), batch) / labels
        total, parts = total + _CTC_WEIGHT * spelling, {**parts, "spelling": spelling.item()}
    if progress >= curriculum.ctc_alone:
        transducer = _transducer_loss(model, frames, log_probs, batch) / labels
        total, parts = total + transducer, {"transducer": transducer.item(), **parts}
    return total, parts


def _spelling_loss(log_probs: Tensor, batch: Batch) -> Tensor:
    """CTC over letters: with few, common symbols it finds the speech long before the pieces can."""
    slots = batch.frames * LETTERS_PER_FRAME
    return functional.ctc_loss(
        log_probs.transpose(0, 1), batch.letters, slots, batch.letter_lengths, BLANK,
        reduction="sum", zero_infinity=True,
    )  # fmt: skip


def _ctc_loss(log_probs: Tensor, batch: Batch) -> Tensor:
    return functional.ctc_loss(
        log_probs.transpose(0, 1), batch.labels, batch.frames, batch.lengths, BLANK,
        reduction="sum", zero_infinity=True,
    )  # fmt: skip


def _transducer_loss(model: Transducer, frames: Tensor, guide: Tensor, batch: Batch) -> Tensor:
    """Sum of the batch's losses, with the joiner evaluated only where the CTC head finds the text."""
    starts, band = band_starts(guide, batch.labels, batch.frames, batch.lengths, _BAND)
    predicted = _in_band(model.predictor(contexts(batch.labels)), band_cells(starts, band))
    logits = model.join(model.enter(frames)[:, :, None], predicted)
    return transducer_loss(logits, batch.labels, batch.frames, batch.lengths, starts).sum()


def _in_band(predicted: Tensor, cells: Tensor) -> Tensor:
    """Pick rows of [B, U + 1, J] by cells i64[B, T, R]; f32 inside, for the sums of its gradient."""
    batch, width, joint = predicted.shape
    offset = torch.arange(batch, device=cells.device)[:, None, None] * width
    rows = functional.embedding(cells + offset, predicted.float().reshape(-1, joint))
    return rows.to(predicted.dtype)


def contexts(labels: Tensor) -> Tensor:
    """The two tokens before each of the U + 1 label positions: i64[B, U] to i64[B, U + 1, 2]."""
    last = functional.pad(labels, (1, 0), value=0)
    before = functional.pad(last, (1, 0), value=-1)[:, :-1]
    return torch.stack([before, last], -1)


def _evaluate(model: Transducer, pieces: Pieces, features: Path, weights: dict[str, Tensor]) -> str:
    """Error rates of `weights` on a third of the unseen speakers and a few unseen sentences."""
    model.load_state_dict(weights)
    sets = {"unseen speakers": slice(None, None, 3), "unseen synthetic text": slice(25)}
    return "\n".join(report(model, pieces, dev_clips(features, name)[part], name) for name, part in sets.items())


if __name__ == "__main__":
    main()
