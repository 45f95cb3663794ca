"""The layer that looks ahead: the one place where the flow hears tokens that are not its own yet."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Whole
from models.flow_tts.cosyvoice.convs import Conv

_SLOPE = 0.01


class PreLookahead(nn.Module):
    """`conv2(leaky(conv1(x))) + x`: the first looks `ahead` tokens ahead, the second two back."""

    def __init__(self, width: int, hidden: int, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.conv1 = Conv(width, hidden, ahead + 1, future=ahead)
        self.conv2 = Conv(hidden, width, 3)

    def run(self, x: Tensor, ahead: Tensor, runner: Whole) -> Tensor:
        """Map tokens f32[B, T, width] and those after them f32[B, ahead, width] to f32[B, T, width].

        Nothing, that is zero, stands for tokens beyond the end.
        """
        heard = self.conv1.mix(torch.cat([x, ahead], 1))
        return runner.step(self.conv2, functional.leaky_relu(heard, _SLOPE)) + x
