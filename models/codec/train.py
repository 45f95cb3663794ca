"""Train the codec for a given wall-clock time on a CPU or a GPU; a restart continues.

First without a quantiser, then with books placed by k-means; `--freeze` goes on with the decoder alone, so that codes
stay what they are, and `--adversarial` adds discriminators.
"""

import argparse
import json
import random
from collections import deque
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.codec.config import RATE, Config, Side
from models.codec.data import Batch, Mixing, draw_batches
from models.codec.losses import SpectralLoss, draw_resolutions, row_loss, wave_loss
from models.codec.model import Codec
from models.codec.pool import Pool, write_pool
from models.codec.tuning import TuningSet
from models.common.onnx_export import read_weights
from models.common.training import Progress, Schedule, Settings, Trainer

# Latents of so many updates place the books.
_LATENTS_KEPT = 40


@dataclass(frozen=True)
class Weights:
    """What the parts of the loss count."""

    root: float = 6.0
    mel: float = 1.0
    wave: float = 2.0
    rows: float = 300.0
    commitment: float = 5.0
    early_spectra: float = 0.3
    """Share of `root` and `mel` before the quantiser comes in: a decoder that is free to choose phases at first does
    not learn the waveform later."""


class Objective:
    """The loss of a batch, and the quantiser's own learning.

    For `warmup` updates there is no quantiser. With `frozen` the encoder and the books stay as they are.
    """

    def __init__(self, model: Codec, progress: Progress, weights: Weights, warmup: int, frozen: bool) -> None:
        self.model, self.progress, self.weights = model, progress, weights
        self.warmup, self.frozen = warmup, frozen
        device = next(model.parameters()).device
        self.spectral = SpectralLoss().to(device)
        self._rng = random.Random(progress.updates)
        self._latents: deque[Tensor] = deque(maxlen=_LATENTS_KEPT)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
        """Return the loss, its parts and seconds of audio."""
        batch = Batch(*(tensor.to(self.spectral.window256.device, non_blocking=True) for tensor in batch))
        latents, commitment = self._quantised(batch)
        decoded, rows = self.model.decoder(latents, batch.kind)
        parts = self._parts(batch.samples, decoded, rows) | {"commitment": commitment}
        total = sum(self._weight(name) * value for name, value in parts.items())
        return total, {name: float(value.detach()) for name, value in parts.items()}, batch.samples.numel() / RATE

    def _weight(self, name: str) -> float:
        early = self.progress.updates < self.warmup and name in ("root", "mel")
        return getattr(self.weights, name) * (self.weights.early_spectra if early else 1.0)

    def _quantised(self, batch: Batch) -> tuple[Tensor, Tensor]:
        model = self.model
        if self.frozen:
            with torch.no_grad():
                latents = model.encoder(batch.samples).float()
            quantised = model.quantiser(latents, batch.count)
            return quantised.latent, quantised.commitment.detach()
        latents = model.encoder(batch.samples).float()
        if self.progress.updates < self.warmup:
            self._latents.append(latents.detach().flatten(0, 1))
            return latents, torch.zeros((), device=latents.device)
        if self._latents:
            model.quantiser.begin(torch.cat(list(self._latents)))
            self._latents.clear()
        quantised = model.quantiser(latents, batch.count, learn=True)
        return quantised.latent, quantised.commitment

    def _parts(self, samples: Tensor, decoded: Tensor, rows: Tensor) -> dict[str, Tensor]:
        with torch.autocast(samples.device.type, enabled=False):
            delay = self.model.config.delay_samples
            target, decoded = samples[:, :-delay], decoded[:, delay:].float()
            blank = torch.zeros_like(samples[:, :delay])
            original = self.model.encoder.transform.rows(samples, blank)[0]
            parts = self.spectral(decoded, target, draw_resolutions(self._rng))
            return parts | {"wave": wave_loss(decoded, target), "rows": row_loss(rows.float(), original)}


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.manual_seed(arguments.seed)
    if arguments.device == "cpu":
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = arguments.pool or arguments.out / "pool"
    if not (folder / "clips.json").exists():
        write_pool(arguments.data, folder)
    config = config_of(plain(Config()) | json.loads(arguments.sizes))
    model = Codec(config)
    if arguments.init:
        begin_from(model, arguments.init, arguments.new_books)
    if arguments.freeze:
        freeze(model)
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, arguments.warmup, arguments.hold)
    settings = Settings(
        schedule, arguments.out, device=arguments.device, betas=(0.8, 0.99), clip=20.0,
        checkpoint_every_s=180, evaluate_every_s=60 * arguments.evaluate_minutes,
    )  # fmt: skip
    trainer = Trainer(model, settings, plain(config))
    objective = Objective(model, trainer.progress, Weights(), _continuous(arguments), arguments.freeze)
    seed = arguments.seed + trainer.progress.updates
    batches = draw_batches(Pool(folder, "train"), config, arguments.batch, seed, Mixing())
    trainer.run(batches, objective, partial(TuningSet(Pool(folder, "tune"), config).report, model))


def _continuous(arguments: argparse.Namespace) -> int:
    """Updates before the quantiser comes in."""
    if arguments.init is None:
        return arguments.continuous
    return _LATENTS_KEPT if arguments.new_books else 0


def plain(config: Config) -> dict[str, Any]:
    """The config as what a checkpoint may hold."""
    return json.loads(json.dumps(asdict(config)))


def config_of(values: dict[str, Any]) -> Config:
    """The config that `plain` made `values` of."""
    sides = {name: Side(**values[name]) for name in ("encoder", "decoder")}
    return Config(**{**values, **sides, "levels": tuple(values["levels"])})


def load(path: Path) -> Codec:
    """The averaged codec of a checkpoint, on the CPU."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Codec(config_of(saved["config"]))
    model.load_state_dict({**saved["model"], **saved["average"]})
    return model.eval()


def begin_from(model: Codec, path: Path, new_books: bool = False) -> None:
    """Take the weights of a checkpoint (averaged) or of an exported bundle (a folder); not the books if `new_books`."""
    if path.is_dir():
        weights = dict(part for graph in sorted(path.glob("*.onnx")) for part in read_weights(graph, "").items())
    else:
        weights = load(path).state_dict()
    kept = model.quantiser.state_dict(prefix="quantiser.") if new_books else {}
    model.load_state_dict({name: kept[name] if name in kept else weights[name] for name in model.state_dict()})


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
    parser.add_argument("--sizes", default="{}", help="fields of the config that differ from its defaults, as JSON")
    parser.add_argument("--evaluate-minutes", type=float, default=10.0, help="time between two reports")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
