"""The time of the ODE as sinusoids, which both estimators begin with."""

import math

import torch
from torch import Tensor

_PERIOD, _SCALE = 10_000.0, 1000.0


def sinusoidal_time(time: Tensor, width: int) -> Tensor:
    """Times f32[n] from 0 to 1 as f32[n, width]: sines, then cosines."""
    half = width // 2
    rates = torch.exp(torch.arange(half) * (-math.log(_PERIOD) / (half - 1)))
    angle = _SCALE * time[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], 1)
