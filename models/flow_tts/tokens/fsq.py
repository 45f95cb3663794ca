"""Finite scalar quantisation (arXiv 2309.15505): every dimension of a token is one of three values.

As in CosyVoice 2: `id = sum_k (round(0.999 tanh h_k) + 1) 3^k`. Gradients pass the rounding as if it were not there.
"""

import torch
from torch import Tensor

from models.flow_tts.tokens.config import LEVELS

_BOUND = 0.999


def quantised(hidden: Tensor) -> Tensor:
    """Values -1, 0 or 1 of f32[..., dims], with the gradient of 0.999 tanh."""
    bounded = _BOUND * torch.tanh(hidden)
    return bounded + (bounded.round() - bounded).detach()


def ids_of(values: Tensor) -> Tensor:
    """Ids i64[...] of values -1, 0 or 1 f32[..., dims]; the first dimension is the least digit."""
    digits = values.detach().round().to(torch.int64) + 1
    return (digits * LEVELS ** torch.arange(values.shape[-1])).sum(-1)


def values_of(ids: Tensor, dims: int) -> Tensor:
    """Values f32[..., dims] of ids i64[...]."""
    return (ids.unsqueeze(-1) // LEVELS ** torch.arange(dims) % LEVELS - 1).float()


def usage(ids: Tensor, tokens: int) -> tuple[float, float]:
    """Share of the `tokens` that are used in i64[n], and the perplexity of their distribution."""
    shares = torch.bincount(ids, minlength=tokens).double() / max(len(ids), 1)
    used = shares[shares > 0]
    return len(used) / tokens, float(torch.exp(-(used * used.log()).sum()))
