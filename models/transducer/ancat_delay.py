"""How long frames wait under a look-ahead: the exact recursion, and a differentiable form of it to train with.

Both are our reconstruction; of the paper (see `ancat`) we know that it regularises latency, not how.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def needed(gates: Sequence[Tensor]) -> Tensor:
    """The newest input frame that each output frame waits for, i64[B, T], under hard gates f32[B, T, R] per layer.

    `need_0[t] = t` and `need_l[t] = max over u <= t of need_{l-1}[u + r_l[u]]`: a frame waits for what it sees, and
    for the frames before it, since frames come out in order. A frame beyond the end is taken to need itself, so a
    result of at least T says "not within the signal".
    """
    batch, frames = gates[0].shape[:2]
    position = torch.arange(frames, device=gates[0].device).expand(batch, -1)
    need = position
    for opened in gates:
        target = position + opened.sum(-1).round().long()
        seen = need.gather(1, target.clamp(max=frames - 1))
        need = torch.where(target < frames, seen, target).cummax(1).values
    return need


def expected_delay(gates: Sequence[Tensor]) -> Tensor:
    """Delay of each output frame in frames, f32[B, T], differentiable in the gates f32[B, T, R] of each layer.

    `D_l[t] = D_{l-1}[t] + sum_k g_l[t, k] (1 + D_{l-1}[t + k] - D_{l-1}[t + k - 1])`: the advance of the needed frame,
    telescoped over the look-ahead. It charges a connection for what it adds to the wait, not for its number: frames
    that the layers below have waited for already are nearly free. Waiting for the order of frames is left out.
    """
    delay = torch.zeros_like(gates[0][..., 0])
    last = delay.shape[1] - 1
    position = torch.arange(delay.shape[1], device=delay.device)
    for opened in gates:
        added = torch.zeros_like(delay)
        for k in range(1, opened.shape[2] + 1):
            advance = delay[:, (position + k).clamp(max=last)] - delay[:, (position + k - 1).clamp(max=last)]
            added = added + opened[..., k - 1] * (1 + advance)
        delay = delay + added
    return delay
