"""Fake quantisation that is no approximation: in float32 it computes exactly what the integer graphs compute.

Activations are u8 in units of 2**-FRACTION, weights 7 bits in units of a power of two of their row, sums int32. All
of these, and their products and sums, are integers below 2**24 times a power of two, which float32 holds exactly.
"""

import torch
from torch import Tensor, nn

# Binary places of an activation: u8 in steps of 1/32, so up to 255/32.
FRACTION = 5
_LARGEST = 255 * 2.0**-FRACTION
# Weights of 8 bits would overflow the int16 sums of pairs on processors without VNNI; see also EXACT.
WEIGHT_LIMIT = 63
# The largest integer up to which float32 has them all.
EXACT = 1 << 24
_MOST_PLACES = 14


class _Straight(torch.autograd.Function):
    """Round in the forward direction, pass gradients as if nothing had happened."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        return torch.floor(values + 0.5)

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return gradient


def to_grid(values: Tensor, places: Tensor | int) -> Tensor:
    """Round to multiples of 2**-places, with straight-through gradients."""
    unit = torch.as_tensor(2.0, device=values.device) ** places
    return _Straight.apply(values * unit) / unit


def activate(values: Tensor, quantised: bool) -> Tensor:
    """Clip to what a u8 can say and, if `quantised`, round to it. This is the network's only non-linearity."""
    return (to_grid(values, FRACTION) if quantised else values).clamp(0, _LARGEST)


def places_of(weight: Tensor) -> Tensor:
    """Binary places f32[rows, 1] that put the largest weight of each row of f32[rows, n] within `WEIGHT_LIMIT`."""
    largest = weight.detach().abs().amax(1, keepdim=True).clamp(min=1e-6)
    return torch.floor(torch.log2(WEIGHT_LIMIT / largest)).clamp(0, _MOST_PLACES)


class QuantisedLinear(nn.Linear):
    """A linear layer; quantised, its weights are 7-bit integers of a power of two per output.

    With `shared_places` all outputs have one power of two, that of the largest weight.
    """

    def __init__(self, inputs: int, outputs: int, shared_places: bool = False) -> None:
        super().__init__(inputs, outputs)
        self.shared_places = shared_places

    @property
    def places(self) -> Tensor:
        """Binary places of the weights, f32[outputs, 1]."""
        places = places_of(self.weight)
        return places.amin().expand_as(places) if self.shared_places else places

    def weights(self, quantised: bool) -> tuple[Tensor, Tensor]:
        """Weight and bias as they are used; raises nothing, for `limit_weights` keeps them in range."""
        if not quantised:
            return self.weight, self.bias
        places = self.places
        weight = to_grid(self.weight, places).clamp(-WEIGHT_LIMIT / 2**places, WEIGHT_LIMIT / 2**places)
        return weight, to_grid(self.bias, places[:, 0] + FRACTION)

    def forward(self, x: Tensor, quantised: bool = False) -> Tensor:
        """Map f32[..., inputs] to f32[..., outputs], not activated."""
        return nn.functional.linear(x, *self.weights(quantised))

    @torch.no_grad()
    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weight i8[inputs, outputs], bias i32[outputs] in units of the sums, places f32[outputs].

        Raises `ValueError` if a sum could be too large to be exact.
        """
        weight, bias = self.weights(quantised=True)
        places = self.places
        whole = torch.round(weight * 2**places)
        offset = torch.round(bias * 2 ** (places[:, 0] + FRACTION))
        reach = int((255 * whole.abs().sum(1) + offset.abs()).max())
        if reach >= EXACT // 2:
            raise ValueError(f"expected sums below {EXACT // 2}, got {reach}")
        return whole.T.contiguous().to(torch.int8), offset.to(torch.int32), places[:, 0]
