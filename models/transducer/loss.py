"""Transducer loss over the lattice with at most one symbol per frame.

Blank and label both advance time, so training matches a greedy search that emits at most one
symbol per frame ("recurrent neural aligner", Sak et al., Interspeech 2017).
"""

import torch
from torch import Tensor

_NEVER = -1e30


def transducer_loss(
    logits: Tensor, labels: Tensor, frames: Tensor, lengths: Tensor, blank: int = 0
) -> Tensor:
    """Negative log-likelihood f32[B] of the labels.

    Takes logits [B, T, U + 1, V], labels i64[B, U], and the valid frames i64[B] and label counts
    i64[B] of each row; rows need frames >= lengths, or the result is about 1e30.
    """
    return _TransducerLoss.apply(logits, labels, frames, lengths, blank)


class _TransducerLoss(torch.autograd.Function):
    """Edges, scan and the gradient with respect to the logits in one node: one [T, U, V] buffer."""

    @staticmethod
    def forward(ctx, logits, labels, frames, lengths, blank):  # noqa: ANN001, ANN205
        log_probs = logits.float().log_softmax(-1)
        index = torch.nn.functional.pad(labels, (0, 1))[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
        stay = log_probs[..., blank]
        emit = log_probs.gather(3, index).squeeze(3)
        loss, stay_grad, emit_grad = scan(stay, emit, frames, lengths)
        grad = log_probs.exp_().mul_(-(stay_grad + emit_grad).unsqueeze(-1))
        grad[..., blank] += stay_grad
        grad.scatter_add_(3, index, emit_grad.unsqueeze(-1))
        ctx.save_for_backward(grad.to(logits.dtype))
        return loss

    @staticmethod
    def backward(ctx, grad_loss):  # noqa: ANN001, ANN205
        (grad,) = ctx.saved_tensors
        return grad * grad_loss[:, None, None, None].to(grad.dtype), None, None, None, None


def scan(stay: Tensor, emit: Tensor, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum over alignments, from the log-probabilities of the lattice's edges f32[B, T, U + 1].

    Returns the negative log-likelihood [B] and its gradients with respect to `stay` and `emit`,
    which are minus the posterior of each edge. The backward variables are forward variables of
    the reversed lattice, so both directions share one loop over time.
    """
    stay, emit = stay.double(), emit.double()
    batch, steps, width = stay.shape
    flip_t = (frames[:, None] - 1 - torch.arange(steps, device=stay.device)) % steps
    flip_u = (lengths[:, None] - torch.arange(width, device=stay.device)) % width
    reverse = torch.arange(batch, device=stay.device)[:, None, None], flip_t[:, :, None], flip_u[:, None, :]
    emit = emit.masked_fill(torch.arange(width, device=stay.device) >= lengths[:, None, None], _NEVER)
    # arrive[..., u] is the edge that enters u from u - 1; reversed, the edge that leaves flip(u).
    arrive = torch.cat([emit.roll(1, 2), emit[reverse]])
    table = _forward(torch.cat([stay, stay[reverse]]), arrive)
    rows = torch.arange(batch, device=stay.device)
    total = table[rows, frames, lengths]
    ahead = table[:batch, :steps]
    behind = table[batch:, :steps][reverse]
    outside = (torch.arange(steps, device=stay.device) >= frames[:, None])[:, :, None]
    shift = (ahead - total[:, None, None]).masked_fill(outside, _NEVER)
    stay_grad = -torch.exp((shift + stay + behind).clamp(max=0))
    emit_grad = -torch.exp((shift + emit + behind.roll(-1, 2)).clamp(max=0))
    return -total.float(), stay_grad.float(), emit_grad.float()


def _forward(stay: Tensor, arrive: Tensor) -> Tensor:
    """Forward variables [B, T + 1, U + 1]: log-probability of having emitted u labels before t."""
    batch, steps, width = stay.shape
    table = stay.new_full((batch, steps + 1, width), _NEVER)
    table[:, 0, 0] = 0
    moved = stay.new_full((batch, width), _NEVER)
    current = table[:, 0]
    for t in range(steps):
        torch.add(current[:, :-1], arrive[:, t, 1:], out=moved[:, 1:])
        current = torch.logaddexp(current + stay[:, t], moved, out=table[:, t + 1])
    return table
