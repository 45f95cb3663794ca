"""Fine-tune a released Whisper to stream: low-rank adapters alone learn block masks and stops; a restart continues.

A small CTC head is first fitted to the frozen encoder; it says when words end. Then the adapters learn what is due at
each stop (WhisperRT, arXiv 2508.12301, with one step of the optimiser for all stops of a batch).
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from models.careless_whisper.checkpoint_files import RESAVED, read_checkpoint
from models.careless_whisper.data import Batches, Curriculum
from models.careless_whisper.model import Whisper
from models.careless_whisper.objective import Learner, Weights
from models.careless_whisper.publish import is_trained, load_whisper
from models.careless_whisper.teacher import Stages, Teacher
from models.careless_whisper.texts import Texts, of_file
from models.careless_whisper.validation import report_sets
from models.common.safe_files import load_tensors
from models.common.training import Schedule, Settings, Trainer

_WARMUP = 50
_HEAD_RATE = 1e-3
_EVER = 2.0


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parser().parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    whisper = load_base(arguments.init)
    texts = of_file(arguments.tokens, whisper.dims.n_vocab)
    head = fit_head(Learner(whisper), texts, arguments)
    train_adapters(Learner(whisper), head, texts, arguments)


def load_base(path: Path) -> Whisper:
    """The model to adapt: of a checkpoint that training here wrote, or of any format that can be imported.

    Adapters that it has already are merged. Raises `CheckpointError` for a file that is neither.
    """
    if path.is_file() and path.suffix == ".pt" and is_trained(load_tensors(path, RESAVED)):
        return load_whisper(path)
    whisper = read_checkpoint(path).model()
    whisper.merge()
    return whisper


def fit_head(learner: Learner, texts: Texts, arguments: argparse.Namespace) -> dict[str, Tensor]:
    """Fit the CTC head to the encoder as it is; returns the head's weights."""
    learner.whisper.requires_grad_(False)
    out = arguments.out / "head"
    trainer = _trainer(learner, out, arguments.head_minutes, _HEAD_RATE, 0)
    teacher = Teacher(trainer, texts, Weights(), Stages(_EVER, _EVER, apart=True))
    trainer.run(iter(_batches(trainer, texts, arguments)), teacher, lambda _: "head fitted")
    return learner.letters.state_dict()


def train_adapters(learner: Learner, head: Mapping[str, Tensor], texts: Texts, arguments: argparse.Namespace) -> None:
    """Train the adapters on what is due at stops, by words aligned with `head`."""
    learner.letters.load_state_dict(head)
    adapted(learner, arguments.rank)
    trainer = _trainer(learner, arguments.out, arguments.budget_minutes, arguments.rate, arguments.rank)
    # The paper's loss, plain.
    weights = Weights(ctc=0.0, decoder=1.0, guide=0.0, smoothing=0.0, corrupted=0.0)
    teacher = Teacher(trainer, texts, weights, Stages(0.0, 0.0, arguments.stops, apart=True))
    scored = adapted(Learner(load_base(arguments.init)), arguments.rank)
    evaluate = partial(report_sets, scored, texts, arguments.features)
    trainer.run(iter(_batches(trainer, texts, arguments)), teacher, evaluate)


def adapted(learner: Learner, rank: int) -> Learner:
    """The same learner with adapters, and nothing else that learns."""
    learner.requires_grad_(False)
    learner.whisper.adapt(rank)
    return learner


def _trainer(learner: Learner, out: Path, minutes: float, rate: float, rank: int) -> Trainer:
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(Schedule(60 * minutes, rate, _WARMUP), out)
    return Trainer(learner, settings, {**asdict(learner.whisper.dims), "rank": rank})


def _batches(trainer: Trainer, texts: Texts, arguments: argparse.Namespace) -> Batches:
    seed = arguments.seed + trainer.progress.updates
    curriculum = Curriculum(0.0, arguments.altered)
    return Batches(arguments.features, texts, lambda: trainer.fraction, arguments.batch, seed, curriculum)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--init", type=Path, required=True, help="checkpoint to adapt, of any format that is imported")
    parser.add_argument("--tokens", type=Path, required=True, help="tokens.txt beside pieces.model, or *.tiktoken")
    parser.add_argument("--features", type=Path, required=True, help="folder written by prepare, of the model's mels")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--rank", type=int, default=32, help="of the adapters")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="training time over all restarts")
    parser.add_argument("--batch", type=float, default=16.0, help="seconds of audio; doubled in the last third")
    parser.add_argument("--rate", type=float, default=1e-5, help="peak learning rate")
    parser.add_argument("--head-minutes", type=float, default=10.0, help="time to fit the CTC head")
    parser.add_argument("--altered", type=float, default=0.01, help="share of the run until all clips are augmented")
    parser.add_argument("--stops", type=int, default=4, help="stops per clip")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
