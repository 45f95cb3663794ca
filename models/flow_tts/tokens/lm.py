"""The language model from symbols to speech tokens, regularised so as not to learn an hour by heart."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.layers import additive
from models.common.pages import WholeMemory
from models.flow_tts.cosyvoice.config import TOKEN_FRAMES, LmSizes
from models.flow_tts.cosyvoice.ids import Ids, ids_of
from models.flow_tts.cosyvoice.lm import TokenLm
from models.flow_tts.symbols import SYMBOLS
from models.flow_tts.tokens.digits import keep_digits, share_digits
from models.flow_tts.tokens.layouts import Blocks

# End, one in reserve, and fill follow the tokens.
_AFTER = 3


class SpeechLm(TokenLm):
    """The decoder of CosyVoice 2 with dropout behind its embedding, its attention and its feed-forward."""

    def __init__(self, sizes: LmSizes, dropout: float = 0.0) -> None:
        super().__init__(sizes)
        self.dropout = nn.Dropout(dropout)
        for layer in self.body.layers:
            for part in (layer.self_attn.o_proj, layer.mlp.down_proj):
                part.register_forward_hook(lambda _, __, made: self.dropout(made))
        for embedding in (self.body.embed_tokens, self.speech_embedding, self.llm_embedding):
            nn.init.normal_(embedding.weight, std=sizes.width**-0.5)

    def embedded(self, ids: Tensor) -> Tensor:
        """See `TokenLm`."""
        return self.dropout(super().embedded(ids))

    @property
    def ids(self) -> Ids:
        """Where which ids lie."""
        return ids_of(self.sizes, self.sizes.speech - _AFTER)

    def plain_config(self) -> dict[str, Any]:
        """The sizes, as a checkpoint holds them."""
        return asdict(self.sizes)


class TaughtLm(SpeechLm):
    """The same while it is trained: half-way up it must tell which phones the next token says.

    That is most of what text says of speech, and says it with less noise than the token; without it an hour hardly
    teaches where in the text the speech is.
    """

    def __init__(self, sizes: LmSizes, dropout: float = 0.0) -> None:
        super().__init__(sizes, dropout)
        self.phones = nn.Sequential(nn.LayerNorm(sizes.width), nn.Linear(sizes.width, TOKEN_FRAMES * len(SYMBOLS)))
        self._middle: Tensor | None = None
        self.body.layers[(sizes.layers - 1) // 2].register_forward_hook(self._keep)

    def told(self) -> Tensor:
        """Logits f32[B, T, frames of a token, symbols] of the phones after each id of the last call."""
        if self._middle is None:
            raise RuntimeError("expected a call of the model before, got none")
        return self.phones(self._middle).unflatten(2, (TOKEN_FRAMES, -1)).float()

    def _keep(self, _: nn.Module, __: Any, made: Tensor) -> None:
        self._middle = made


class Past:
    """Keys and values of all that was given, growing: a `Memory` for one sequence, one call of the model at a time."""

    def __init__(self) -> None:
        self.length = 0
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._layer = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """See `Memory`."""
        new = key.shape[2]
        if self._layer < len(self._kept):
            old = self._kept[self._layer]
            key, value = torch.cat([old[0], key], 2), torch.cat([old[1], value], 2)
            self._kept[self._layer] = key, value
        else:
            self._kept.append((key, value))
        self._layer += 1
        seen = torch.arange(key.shape[2])
        mask = additive(seen <= seen[-new:, None])
        return WholeMemory(mask).attend(query, key, value, bias)

    def advance(self, count: int) -> None:
        """Note that all layers have seen `count` more ids."""
        self.length += count
        self._layer = 0


@torch.no_grad()
def next_logits(lm: TokenLm, ids: list[int], past: Past) -> Tensor:
    """Logits f32[speech] after the last of `ids`, which follow all that `past` holds."""
    place = past.length + torch.arange(len(ids))[None]
    hidden = lm.run(torch.tensor([ids]), place, past)[0, -1]
    past.advance(len(ids))
    return lm.llm_decoder(hidden)


def corrupted(ids: Tensor, special: Ids, share: float, rng: torch.Generator) -> Tensor:
    """Ids i64[B, T] of which this share of the speech tokens are others: speech that the model made has faults too."""
    wrong = torch.randint(special.tokens, ids.shape, generator=rng) + special.speech
    speech = (ids >= special.speech) & (ids < special.speech + special.tokens)
    return torch.where(speech & (torch.rand(ids.shape, generator=rng) < share), wrong, ids)


def loss_of(lm: TokenLm, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of the targets i64[B, T] after ids i64[B, T], and the share of them that is likeliest."""
    logits = lm(ids).float()
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    told = targets >= 0
    return loss, ((logits.argmax(2) == targets) & told).sum() / told.sum().clamp_min(1)


def phone_loss_of(lm: TaughtLm, targets: Tensor, phones: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of the phones i64[frames] of each row, and the share that is likeliest.

    It is of the last call of `lm`, where the targets i64[B, T] are tokens.
    """
    wanted = torch.cat(list(phones))
    says = lm.told()[(targets >= 0) & (targets < lm.ids.tokens)].flatten(0, 1)
    return functional.cross_entropy(says, wanted), (says.argmax(1) == wanted).float().mean()


def begin_from(model: TaughtLm, path: Path) -> None:
    """Take the averaged weights of a checkpoint of `lm_train`; raises `RuntimeError` if it is of another model."""
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["average"])


def load_lm(path: Path) -> tuple[SpeechLm, Blocks]:
    """Read the averaged weights of a checkpoint of `lm_train`, and the blocks that it was trained on."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    config = saved["config"]
    sizes = LmSizes(**{name: value for name, value in config.items() if name != "blocks"})
    taught, model = TaughtLm(sizes), SpeechLm(sizes)
    share_digits(taught, taught.ids.tokens)
    taught.load_state_dict(saved["average"])
    keep_digits(taught)
    weights = taught.state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model.eval(), Blocks(*config["blocks"])
