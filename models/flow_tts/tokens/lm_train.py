"""Train the language model for a given wall-clock time; a restart continues.

Each example has its text before its speech or, half of the time if it has speech enough, in blocks between the speech.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.common.training import Progress, Trainer
from models.flow_tts import tuning
from models.flow_tts.tokens import recipe
from models.flow_tts.tokens.config import TOKENS_A_SECOND, lm_sizes
from models.flow_tts.tokens.data import Utterance, drawn, shifted, tokenised, utterances
from models.flow_tts.tokens.digits import share_digits
from models.flow_tts.tokens.layouts import IGNORED, Blocks, Sequenced, interleaved, offline
from models.flow_tts.tokens.lm import SpeechLm, TaughtLm, begin_from, corrupted, loss_of, phone_loss_of
from models.flow_tts.tokens.losses import floats
from models.flow_tts.tokens.tokeniser import load_tokeniser

_INTERLEAVED, _PHONES = 0.5, 1.0


def sequenced(model: SpeechLm, one: Utterance, blocks: Blocks, streamed: bool) -> Sequenced:
    """The sequence of one utterance; `streamed` ones have text and speech in turn if they can."""
    symbols, tokens = one.symbols.tolist(), one.tokens.tolist()
    if streamed and blocks.fit(len(symbols), len(tokens)):
        return interleaved(model.ids, symbols, tokens, blocks)
    return offline(model.ids, symbols, tokens)


def collate(found: Sequence[Sequenced]) -> tuple[Tensor, Tensor]:
    """Ids and targets i64[B, T] side by side; after their ends nothing is to be learned."""
    return (
        pad_sequence([torch.tensor(one.ids) for one in found], batch_first=True),
        pad_sequence([torch.tensor(one.targets) for one in found], batch_first=True, padding_value=IGNORED),
    )


class Objective:
    """The loss of some utterances, whose layouts are drawn for them."""

    def __init__(self, model: TaughtLm, blocks: Blocks, corrupt: float, progress: Progress) -> None:
        self._model, self._blocks, self._corrupt, self._progress = model, blocks, corrupt, progress

    def __call__(self, found: Sequence[Utterance]) -> tuple[Tensor, dict[str, float], float]:
        """Return the loss, its parts and the seconds of audio."""
        rng = torch.Generator().manual_seed(self._progress.updates)
        streamed = (torch.rand(len(found), generator=rng) < _INTERLEAVED).tolist()
        chosen = zip(found, streamed, strict=True)
        ids, targets = collate([sequenced(self._model, one, self._blocks, which) for one, which in chosen])
        ids = corrupted(ids, self._model.ids, self._corrupt, rng)
        loss, right = loss_of(self._model, ids, targets)
        phones, told = phone_loss_of(self._model, targets, [one.phones for one in found])
        seconds = sum(len(one.tokens) for one in found) / TOKENS_A_SECOND
        return loss + _PHONES * phones, floats({"loss": loss, "right": right, "phones": phones, "told": told}), seconds


def report(model: TaughtLm, blocks: Blocks, tune: Sequence[Utterance]) -> str:
    """Cross entropy, and the shares of tokens and of phones that are likeliest, on the tuning split in both layouts."""
    parts = {}
    for name, streamed in (("offline", False), ("interleaved", True)):
        ids, targets = collate([sequenced(model, one, blocks, streamed) for one in tune])
        loss, right = loss_of(model, ids, targets)
        _, told = phone_loss_of(model, targets, [one.phones for one in tune])
        parts |= floats({f"{name}_loss": loss, f"{name}_right": right, f"{name}_told": told})
    return tuning.line(parts)


def main() -> None:
    """Run from the command line; see --help."""
    parser = recipe.parser(__doc__, rate=6e-4, batch=12)
    parser.set_defaults(weight_decay=0.1)
    parser.add_argument("--tokeniser", type=Path, required=True, help="checkpoint of tokeniser_train")
    parser.add_argument("--init", type=Path, help="checkpoint to begin from")
    parser.add_argument("--text-block", type=int, default=Blocks.text, help="symbols of a block of text")
    parser.add_argument("--speech-block", type=int, default=Blocks.speech, help="tokens of a block of speech")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--mixed", type=float, default=0.7, help="share of examples of words of several recordings")
    parser.add_argument("--corrupt", type=float, default=0.05, help="share of the tokens given that are others")
    arguments = parser.parse_args()
    settings = recipe.settings(arguments)
    tokeniser = load_tokeniser(arguments.tokeniser)
    model = TaughtLm(lm_sizes(tokeniser.config.tokens), arguments.dropout)
    share_digits(model, tokeniser.config.tokens)
    if arguments.init:
        begin_from(model, arguments.init)
    blocks = Blocks(arguments.text_block, arguments.speech_block)
    trainer = Trainer(model, settings, model.plain_config() | {"blocks": [blocks.text, blocks.speech]})
    heard, unheard = (utterances(arguments.pool, split) for split in ("train", "tune"))
    found, tune = tokenised(tokeniser, heard + shifted(heard)), tokenised(tokeniser, unheard)
    examples = drawn(found, arguments.batch, recipe.seed_of(arguments, trainer.progress.updates), arguments.mixed)
    objective = Objective(model, blocks, arguments.corrupt, trainer.progress)
    trainer.run(examples, objective, tuning.averaged(model, lambda: report(model, blocks, tune)))


if __name__ == "__main__":
    main()
