"""Train tokens to mel for a given wall-clock time; a restart continues.

Each batch has one of the four masks of CosyVoice 2: everything is seen, the past alone, chunks, chunks twice as long.
"""

from pathlib import Path

import torch
from torch import Tensor

from models.common.training import Progress, Trainer
from models.flow_tts import tuning
from models.flow_tts.config import FRAME, RATE, FlowConfig
from models.flow_tts.flow import conditions
from models.flow_tts.tokens import recipe
from models.flow_tts.tokens.config import CHUNK, TokenFlowConfig
from models.flow_tts.tokens.data import Batch, collate, drawn, shifted, tokenised, utterances
from models.flow_tts.tokens.flow import TokenFlow
from models.flow_tts.tokens.losses import floats, melody_losses, squared
from models.flow_tts.tokens.tokeniser import load_tokeniser

_OCTAVES, _VOICING = 3.0, 0.2


def chunks(size: int) -> tuple[int | None, ...]:
    """The masks that training draws from: of everything, of one token at a time, of chunks, of chunks twice as long."""
    return (None, 1, size, 2 * size)


def losses(model: TokenFlow, batch: Batch, chunk: int | None, rng: torch.Generator) -> dict[str, Tensor]:
    """The parts: `mean`, `octaves`, `voicing` and `flow`."""
    hidden = model.encoded(batch.tokens, chunk)
    mean = model.encoder_proj.mean(hidden, batch.pitch).float()
    time = torch.rand(len(mean), generator=rng)
    noise = torch.randn(batch.mel.shape, generator=rng)
    return {
        "mean": squared(mean, batch.mel, batch.mask),
        **melody_losses(model.encoder_proj.melody(hidden), batch.pitch, batch.mask),
        "flow": model.flow.loss(batch.mel, conditions(mean.detach(), batch.pitch), noise, time, batch.mask),
    }


class Objective:
    """The loss of a batch under a mask that is drawn for it."""

    def __init__(self, model: TokenFlow, progress: Progress) -> None:
        self._model, self._progress = model, progress

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
        """Return the loss, its parts and the seconds of audio."""
        rng = torch.Generator().manual_seed(self._progress.updates)
        among = chunks(self._model.config.chunk)
        chunk = among[int(torch.randint(len(among), (), generator=rng))]
        parts = losses(self._model, batch, chunk, rng)
        loss = parts["mean"] + parts["flow"] + _OCTAVES * parts["octaves"] + _VOICING * parts["voicing"]
        return loss, floats(parts), int(batch.mask.sum()) * FRAME / RATE


def report(model: TokenFlow, batch: Batch) -> str:
    """Losses on the tuning split under the mask of everything and under that of chunks."""
    parts = {}
    for name, chunk in (("whole", None), ("chunked", model.config.chunk)):
        found = losses(model, batch, chunk, torch.Generator().manual_seed(0))
        parts |= {f"{name}_{part}": value for part, value in found.items()}
    return tuning.line(floats(parts))


def begin_from(model: TokenFlow, acoustic: Path) -> None:
    """Take the flow of a checkpoint of `acoustic_train`; raises `ValueError` if it is of another size."""
    saved = torch.load(acoustic, weights_only=True, map_location="cpu")
    theirs, ours = saved["config"]["flow"], model.plain_config()["flow"]
    if {**theirs, "dilations": tuple(theirs["dilations"])} != ours:
        raise ValueError(f"expected a flow of {ours}, got {theirs}")
    own = {name: value for name, value in saved["average"].items() if name.startswith("flow.")}
    model.load_state_dict(model.state_dict() | own)


def main() -> None:
    """Run from the command line; see --help."""
    parser = recipe.parser(__doc__, rate=1e-3, batch=8)
    parser.add_argument("--tokeniser", type=Path, required=True, help="checkpoint of tokeniser_train")
    parser.add_argument("--acoustic", type=Path, help="checkpoint of acoustic_train whose flow to begin from")
    parser.add_argument("--chunk", type=int, default=CHUNK, help="tokens of a chunk of the mask")
    arguments = parser.parse_args()
    settings = recipe.settings(arguments)
    tokeniser = load_tokeniser(arguments.tokeniser)
    model = TokenFlow(TokenFlowConfig(tokeniser.config.tokens, FlowConfig(), chunk=arguments.chunk))
    if arguments.acoustic:
        begin_from(model, arguments.acoustic)
    trainer = Trainer(model, settings, model.plain_config())
    heard, unheard = (utterances(arguments.pool, split) for split in ("train", "tune"))
    found, tune = tokenised(tokeniser, heard + shifted(heard)), tokenised(tokeniser, unheard)
    examples = drawn(found, arguments.batch, recipe.seed_of(arguments, trainer.progress.updates))
    evaluate = tuning.averaged(model, lambda: report(model, collate(tune)))
    trainer.run(map(collate, examples), Objective(model, trainer.progress), evaluate)


if __name__ == "__main__":
    main()
