"""Tokens that share digits share weights while the language model is trained: few are heard often in an hour.

A row of an embedding, or of a head, is its own and the sum of a row for each digit of its token (`fsq`).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.flow_tts.cosyvoice.lm import TokenLm
from models.flow_tts.tokens.config import LEVELS

# Of the deviation that rows have in all: what is a token's own is learned from the little that is heard of it.
_OWN = 0.1


class SharedDigits(nn.Module):
    """Adds what digits say to the first rows of a weight f32[rows, width]; the others stand for no token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        powers = _powers(tokens)
        self.digits = nn.Parameter(torch.randn(len(powers), LEVELS, width) * (width * len(powers)) ** -0.5)
        digits = torch.arange(tokens).unsqueeze(1) // powers % LEVELS
        self.register_buffer("places", digits + LEVELS * torch.arange(len(powers)), persistent=False)

    def forward(self, own: Tensor) -> Tensor:
        """f32[rows, width] to the same."""
        shared = self.digits.flatten(0, 1)[self.places].sum(1)
        return own + nn.functional.pad(shared, (0, 0, 0, len(own) - len(shared)))


def share_digits(lm: TokenLm, tokens: int) -> None:
    """Share the weights of the first `tokens` speech ids, a power of three."""
    for module in (lm.speech_embedding, lm.llm_decoder):
        nn.init.normal_(module.weight[:tokens], std=_OWN * lm.sizes.width**-0.5)
        parametrize.register_parametrization(module, "weight", SharedDigits(tokens, lm.sizes.width))


def keep_digits(lm: TokenLm) -> None:
    """Make what is shared each row's own, as the graphs of a bundle have it."""
    for module in (lm.speech_embedding, lm.llm_decoder):
        parametrize.remove_parametrizations(module, "weight")


def _powers(tokens: int) -> Tensor:
    powers = [1]
    while powers[-1] * LEVELS < tokens:
        powers.append(powers[-1] * LEVELS)
    if powers[-1] * LEVELS != tokens:
        raise ValueError(f"expected a power of {LEVELS} tokens, got {tokens}")
    return torch.tensor(powers)
