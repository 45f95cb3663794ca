"""Floats to serve the trained network in: the network before it is rounded, for entropy mode 3.

The weights are those that training updates and the integer network rounds, so what quantised fine-tuning has learnt is
in them too. They are kept in float16 and computed with in float32. Embeddings and priors stay on the grid of
the integer network, which is a hundredth of their spread: both networks share these tables, the larger part of either.
"""

import copy

import torch
from torch import Tensor, nn

from models.lmcodec.network import LOGIT_PLACES, Network
from models.lmcodec.quantisation import FRACTION, QuantisedLinear, to_grid
from models.lmcodec.steps import UNIT, Arithmetic


@torch.no_grad()
def float_network(network: Network) -> Network:
    """A copy of `network` that computes without `quantised` what is served in floats."""
    served = copy.deepcopy(network)
    served.limit()
    for layer in served.modules():
        if isinstance(layer, QuantisedLinear):
            # In halves both as it is and in units of a logit, which are smaller: those have fewer places near zero.
            layer.weight.copy_((layer.weight * UNIT).half() / UNIT)
    for table in (served.trunk.embedding.table.weight, served.heads.embedding.table.weight, served.heads.book):
        table.copy_(to_grid(table, FRACTION))
    served.heads.prior.weight.copy_(to_grid(served.heads.prior.weight, LOGIT_PLACES))
    return served.eval()


class FloatLinear(nn.Module):
    """Implements `steps.Linear` without rounding."""

    def __init__(self, layer: QuantisedLinear, with_bias: bool = True, unit: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("weight", (layer.weight.detach().T * unit).contiguous())
        self.register_buffer("offset", self.offsets(layer) if with_bias else torch.zeros(0))

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """Map f32[B, inputs] to f32[B, outputs]."""
        return x @ self.weight + (self.offset if offset is None else offset)

    @staticmethod
    def offsets(layer: QuantisedLinear) -> Tensor:
        """The bias in units of an activation, f32[outputs]."""
        return layer.bias.detach() * 2.0**FRACTION


def _clip(values: Tensor) -> Tensor:
    return values.clamp(0, 255)


def _as_it_is(values: Tensor) -> Tensor:
    return values


FLOAT = Arithmetic("float_entropy", FloatLinear, _clip, _as_it_is, torch.float32, torch.float32)
