"""Train a small Whisper from nothing; a restart continues.

From nothing, the encoder learns letters by CTC before the decoder joins in; first with all that was said, then, when
words can be aligned, at several stops per clip with what was said until then.
"""

import argparse
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from models.careless_whisper.data import Batches, Curriculum
from models.careless_whisper.objective import Learner, Weights
from models.careless_whisper.scratch import Sizes, untrained
from models.careless_whisper.teacher import Stages, Teacher
from models.careless_whisper.texts import of_file
from models.careless_whisper.validation import report_sets
from models.common.training import Schedule, Settings, Trainer


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    texts = of_file(arguments.features / "tokens.txt")
    sizes = Sizes(arguments.width, arguments.layers, arguments.text_layers, arguments.mels)
    dims = sizes.dims(texts.vocabulary.size)
    model = Learner(untrained(dims))
    if arguments.init:
        weights = torch.load(arguments.init, weights_only=True, map_location="cpu")["average"]
        model.load_state_dict(weights, strict=False)
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, arguments.warmup)
    settings = Settings(schedule, arguments.out, evaluate_every_s=60 * arguments.evaluate_minutes)
    trainer = Trainer(model, settings, asdict(dims))
    curriculum = Curriculum(arguments.easy, arguments.altered, arguments.easy_longest)
    batches = Batches(
        arguments.features,
        texts,
        lambda: trainer.fraction,
        arguments.batch,
        arguments.seed + trainer.progress.updates,
        curriculum,
    )
    evaluate = partial(report_sets, Learner(untrained(dims)), texts, arguments.features)
    stages = Stages(arguments.ctc_alone, arguments.whole, arguments.stops)
    teacher = Teacher(trainer, texts, Weights(arguments.ctc, guide=arguments.guide, through=arguments.through), stages)
    trainer.run(iter(batches), teacher, evaluate)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, required=True, help="folder written by prepare")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--budget-minutes", type=float, default=90.0, help="training time over all restarts")
    parser.add_argument("--evaluate-minutes", type=float, default=15.0)
    parser.add_argument("--batch", type=float, default=16.0, help="seconds of audio; doubled in the last third")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=400, help="updates until the peak rate")
    parser.add_argument("--mels", type=int, default=80, help="as prepared")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--text-layers", type=int, default=2)
    parser.add_argument("--easy", type=float, default=0.3, help="share of the run with short clips alone")
    parser.add_argument("--easy-longest", type=float, default=6.0, help="seconds of the longest clip that is short")
    parser.add_argument("--altered", type=float, default=2.5, help="runs after which all clips are augmented")
    parser.add_argument("--ctc-alone", type=float, default=0.34, help="share of the run before the decoder joins in")
    parser.add_argument("--whole", type=float, default=0.34, help="share of the run with whole texts alone")
    parser.add_argument("--stops", type=int, default=2, help="stops per clip after that")
    parser.add_argument("--ctc", type=float, default=1.0, help="weight of CTC")
    parser.add_argument("--guide", type=float, default=0.5, help="weight of the guide of the cross-attention")
    parser.add_argument("--through", type=float, default=0.2, help="share of the decoder's gradient in the encoder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="checkpoint to start from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
