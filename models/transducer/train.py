"""Train the transducer on prepared shards for a given wall-clock time; a restart continues."""

import argparse
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from models.common.shards import Clip
from models.common.text import BLANK, Pieces
from models.common.training import Schedule, Settings, Trainer
from models.transducer.config import Config
from models.transducer.data import Batch, Batches
from models.transducer.evaluate import dev_clips, report
from models.transducer.loss import transducer_loss
from models.transducer.model import Transducer

# Share of the budget in which CTC alone shapes the encoder: the transducer learns alignments slowly from nothing.
_CTC_ALONE = 0.1
_CTC_WEIGHT = 0.3


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pieces = Pieces(arguments.features / "pieces.model")
    config = Config(vocabulary=len(pieces))
    model = Transducer(config)
    if arguments.init:
        model.load_state_dict(torch.load(arguments.init, weights_only=True)["average"], strict=False)
    schedule = Schedule(60 * arguments.budget_minutes, peak=arguments.rate)
    settings = Settings(schedule, arguments.out, arguments.device)
    trainer = Trainer(model, settings, asdict(config))
    batches = Batches(
        arguments.features, pieces, partial(_batch_seconds, trainer, arguments.batch), seed=trainer.progress.updates
    )
    evaluate = partial(_evaluate, Transducer(config), pieces, _dev_sets(arguments.features))
    trainer.run(iter(batches), partial(_loss, trainer), evaluate)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, required=True, help="folder written by prepare")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--budget-minutes", type=float, required=True, help="training time over all restarts")
    parser.add_argument("--batch", type=float, default=16.0, help="seconds of audio; doubled in the last third")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="checkpoint whose averaged weights to start from")
    return parser.parse_args()


def _batch_seconds(trainer: Trainer, seconds: float) -> float:
    return seconds if trainer.fraction < 2 / 3 else 2 * seconds


def _loss(trainer: Trainer, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
    """Losses per label: CTC alone at first, then the transducer with CTC at its side."""
    batch = batch.to(trainer.settings.device)
    labels = batch.lengths.sum()
    frames = trainer.model.encoder(batch.log_mel)
    ctc = _ctc_loss(trainer.model, frames, batch).sum() / labels
    if trainer.fraction < _CTC_ALONE:
        return ctc, {"ctc": ctc.item()}, batch.audio_s
    transducer = _transducer_loss(trainer.model, frames, batch).sum() / labels
    parts = {"transducer": transducer.item(), "ctc": ctc.item()}
    return transducer + _CTC_WEIGHT * ctc, parts, batch.audio_s


def _ctc_loss(model: Transducer, frames: Tensor, batch: Batch) -> Tensor:
    log_probs = model.ctc(frames).float().log_softmax(-1).transpose(0, 1)
    return functional.ctc_loss(
        log_probs, batch.labels, batch.frames, batch.lengths, BLANK, reduction="none", zero_infinity=True
    )


def _transducer_loss(model: Transducer, frames: Tensor, batch: Batch) -> Tensor:
    predicted = model.predictor(contexts(batch.labels))
    logits = model.join(model.enter(frames)[:, :, None], predicted[:, None])
    return transducer_loss(logits, batch.labels, batch.frames, batch.lengths)


def contexts(labels: Tensor) -> Tensor:
    """The two tokens before each of the U + 1 label positions: i64[B, U] to i64[B, U + 1, 2]."""
    last = functional.pad(labels, (1, 0), value=0)
    before = functional.pad(last, (1, 0), value=-1)[:, :-1]
    return torch.stack([before, last], -1)


def _dev_sets(features: Path) -> dict[str, tuple[list[Clip], Path]]:
    return {"real dev": (dev_clips(features, ("librispeech_1-100", "librispeech_2-100"))[::3], features)}


def _evaluate(
    model: Transducer, pieces: Pieces, sets: dict[str, tuple[list[Clip], Path]], weights: dict[str, Tensor]
) -> str:
    model.load_state_dict(weights, strict=False)
    lines = []
    for name, (clips, features) in sets.items():
        lines.append(report(model, pieces, clips, name))
        synthetic = dev_clips(features, ("synthetic-dev",))[:25]
        if synthetic:
            lines.append(report(model, pieces, synthetic, "unseen synthetic text"))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
