"""Train the tokeniser for a given wall-clock time; a restart continues."""

from pathlib import Path

import torch
from torch import Tensor

from models.common.training import Trainer
from models.flow_tts import tuning
from models.flow_tts.config import FRAME, RATE
from models.flow_tts.tokens import fsq, recipe
from models.flow_tts.tokens.config import DIMS, TokeniserConfig
from models.flow_tts.tokens.data import Batch, Utterance, collate, drawn, shifted, tokenised, utterances
from models.flow_tts.tokens.losses import floats, melody_losses, phone_loss, squared
from models.flow_tts.tokens.tokeniser import Tokeniser

_OCTAVES, _VOICING, _PHONES = 3.0, 0.2, 1.0


def losses(model: Tokeniser, batch: Batch) -> dict[str, Tensor]:
    """The parts: `mel`, `octaves`, `voicing`, `phones` and, not to be minimised, the share `told` of right phones."""
    told = model.decoded(model.values(batch.mel, batch.pitch, batch.mask), batch.mask)
    phones, right = phone_loss(told.phones, batch.phones, batch.mask)
    return {
        "mel": squared(told.mel, batch.mel, batch.mask),
        **melody_losses(told.melody, batch.pitch, batch.mask),
        "phones": phones,
        "told": right,
    }


class Objective:
    """The loss of a batch."""

    def __init__(self, model: Tokeniser) -> None:
        self._model = model

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
        """Return the loss, its parts and the seconds of audio."""
        parts = losses(self._model, batch)
        loss = parts["mel"] + _OCTAVES * parts["octaves"] + _VOICING * parts["voicing"] + _PHONES * parts["phones"]
        return loss, floats(parts), int(batch.mask.sum()) * FRAME / RATE


def codebook(model: Tokeniser, found: list[Utterance]) -> dict[str, float]:
    """How many `tokens` there are, the share that is `used`, and their `perplexity`."""
    ids = torch.cat([one.tokens for one in tokenised(model, found)])
    used, perplexity = fsq.usage(ids, model.config.tokens)
    return {"tokens": float(model.config.tokens), "used": used, "perplexity": perplexity}


def report(model: Tokeniser, folder: Path) -> str:
    """Losses on the tuning split, and how the tokens are used there and in the training split."""
    tune = utterances(folder, "tune")
    parts = floats(losses(model, collate(tune)))
    for name, found in (("tune", tune), ("train", utterances(folder, "train"))):
        parts |= {f"{name}_{key}": value for key, value in codebook(model, found).items() if key != "tokens"}
    return tuning.line(parts)


def main() -> None:
    """Run from the command line; see --help."""
    parser = recipe.parser(__doc__, rate=1e-3, batch=8)
    parser.add_argument("--dims", type=int, default=DIMS, help="dimensions of a token: 3^dims tokens")
    arguments = parser.parse_args()
    settings = recipe.settings(arguments)
    model = Tokeniser(TokeniserConfig(dims=arguments.dims))
    trainer = Trainer(model, settings, model.plain_config())
    heard = utterances(arguments.pool, "train")
    found = heard + shifted(heard)
    examples = drawn(found, arguments.batch, recipe.seed_of(arguments, trainer.progress.updates))
    evaluate = tuning.averaged(model, lambda: report(model, arguments.pool))
    trainer.run(map(collate, examples), Objective(model), evaluate)


if __name__ == "__main__":
    main()
