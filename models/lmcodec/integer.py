"""Integers to serve the trained network in: what the graphs `entropy` and `entropy_next` compute, bit for bit.

Sums are int32, brought back to u8 by an exact multiplication with a power of two, so any kernel, batch or order of
summing gives the same bits (see `quantisation`). Activations, caches and weights are one byte each.
"""

import torch
from torch import Tensor, nn

from models.lmcodec.quantisation import QuantisedLinear
from models.lmcodec.steps import Arithmetic

_MATMUL_OPSET = 10


def matmul_integer(x: Tensor, weight: Tensor) -> Tensor:
    """u8[..., n] times i8[n, m] to i32[..., m]; the operator MatMulInteger where a graph is being traced."""
    if torch.onnx.is_in_onnx_export():
        shape = (*x.shape[:-1], weight.shape[1])
        return torch.onnx.ops.symbolic(
            "MatMulInteger", (x, weight), dtype=torch.int32, shape=shape, version=_MATMUL_OPSET
        )
    return (x.float() @ weight.float()).to(torch.int32)


class IntegerLinear(nn.Module):
    """Implements `steps.Linear`: u8 activations to real multiples of half a step of an activation.

    Half a unit is added for rounding: floor makes integers of them.
    """

    def __init__(self, layer: QuantisedLinear, with_bias: bool = True, unit: float = 1.0) -> None:
        super().__init__()
        weight, _, places = layer.integers()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", 2.0**-places * unit)
        self.register_buffer("offset", self.offsets(layer) if with_bias else torch.zeros(0))

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """Map u8[B, inputs] to f32[B, outputs]."""
        return matmul_integer(x, self.weight).float() * self.scale + (self.offset if offset is None else offset)

    @staticmethod
    def offsets(layer: QuantisedLinear) -> Tensor:
        """The bias in units of an activation and the half for rounding, f32[outputs]."""
        _, bias, places = layer.integers()
        return bias * 2.0**-places + 0.5


def to_u8(values: Tensor) -> Tensor:
    """Clip f32 to u8 and round down, as a conversion of what is not negative does."""
    return values.clamp(0, 255).to(torch.uint8)


def _to_int32(values: Tensor) -> Tensor:
    return values.floor().to(torch.int32)


INTEGER = Arithmetic("entropy", IntegerLinear, to_u8, _to_int32, torch.uint8, torch.int32)
