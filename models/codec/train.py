"""Train the codec for a given wall-clock time on a CPU or a GPU, in one process or several; a restart continues.

First without a quantiser, then with books placed by k-means; `--freeze` goes on with the decoder alone, so that codes
stay what they are, `--adversarial` adds discriminators, `--teacher` the features of a wider codec to imitate.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch

from models.codec.checkpoint import config_of, load, plain, read_bundle
from models.codec.config import Config, stream_codec
from models.codec.data import Mixing, draw_batches
from models.codec.distil import Imitation
from models.codec.model import Codec
from models.codec.objective import Objective, Weights
from models.codec.pool import Pool, write_pool
from models.codec.tuning import TuningSet
from models.common.adversarial import Adversary
from models.common.allocator import keep_freed_memory
from models.common.parallel import Together
from models.common.training import Schedule, Settings, Trainer

PRESETS = {"default": Config(), "stream-codec": stream_codec(), "teacher": stream_codec(causal=False, width=384)}

# Between the batches of processes that train together.
_SEEDS_APART = 1_000_003


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    keep_freed_memory()
    torch.manual_seed(arguments.seed)
    if arguments.device == "cpu":
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder, together = arguments.pool or arguments.out / "pool", Together()
    if together.first and not (folder / "clips.json").exists():
        write_pool(arguments.data, folder)
    together.wait()
    config = config_of(plain(PRESETS[arguments.preset]) | json.loads(arguments.sizes))
    model = Codec(config)
    if arguments.init:
        begin_from(model, arguments.init, arguments.new_books)
    if arguments.freeze:
        freeze(model)
    adversary = Adversary(device=arguments.device) if arguments.adversarial else None
    imitation = Imitation(load(arguments.teacher), model).to(arguments.device) if arguments.teacher else None
    companions = {"adversary": adversary, "imitation": imitation}
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, arguments.warmup, arguments.hold)
    settings = Settings(
        schedule, arguments.out, device=arguments.device, betas=(0.8, 0.99), clip=20.0,
        checkpoint_every_s=180, evaluate_every_s=60 * arguments.evaluate_minutes,
    )  # fmt: skip
    trainer = Trainer(
        model, settings, plain(config), companions={name: it for name, it in companions.items() if it is not None},
        together=together,
    )  # fmt: skip
    continuous = arguments.continuous if arguments.new_books or not arguments.init else 0
    objective = Objective(model, trainer.progress, Weights(), continuous, arguments.freeze, adversary, imitation)
    seed = arguments.seed + trainer.progress.updates + _SEEDS_APART * together.rank
    batches = draw_batches(Pool(folder, "train"), config, arguments.batch, seed, Mixing())
    trainer.run(batches, objective, partial(TuningSet(Pool(folder, "tune"), config).report, model))


def begin_from(model: Codec, path: Path, new_books: bool = False) -> None:
    """Take the weights of a checkpoint (averaged) or of a bundle (a folder); not the books if `new_books`."""
    weights = (read_bundle(path) if path.is_dir() else load(path)).state_dict()
    if new_books:
        weights |= model.quantiser.state_dict(prefix="quantiser.")
    model.load_state_dict(weights)


def freeze(model: Codec) -> None:
    """Let nothing that codes depend on learn."""
    for part in (model.encoder, model.quantiser):
        part.requires_grad_(False)
    model.quantiser.absent.requires_grad_(True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--pool", type=Path, help="folder of the decoded clips, if not below --out")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="training time over all restarts")
    parser.add_argument("--batch", type=int, default=8, help="crops of 1 s in a batch")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--hold", type=float, default=0.3, help="share of the time before the rate falls")
    parser.add_argument("--warmup", type=int, default=500, help="updates until the peak rate")
    parser.add_argument("--continuous", type=int, default=1000, help="updates before the quantiser comes in")
    parser.add_argument("--init", type=Path, help="checkpoint, or folder of a bundle, whose weights to begin with")
    parser.add_argument("--new-books", action="store_true", help="place all books anew after --init")
    parser.add_argument("--freeze", action="store_true", help="train the decoder alone")
    parser.add_argument("--adversarial", action="store_true", help="let discriminators judge what is decoded")
    parser.add_argument("--teacher", type=Path, help="checkpoint of a codec whose features to imitate")
    parser.add_argument("--preset", choices=PRESETS, default="default", help="which codec to train")
    parser.add_argument("--sizes", default="{}", help="fields of the config that differ from the preset, as JSON")
    parser.add_argument("--evaluate-minutes", type=float, default=10.0, help="time between two reports")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
