"""Transducer loss over the lattice with at most one symbol per frame.

Blank and label both advance time, so training matches a greedy search that emits at most one
symbol per frame ("recurrent neural aligner", Sak et al., Interspeech 2017).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

BLANK = 0
_NEVER = -1e30


def transducer_loss(
    logits: Tensor, labels: Tensor, frames: Tensor, lengths: Tensor, starts: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood f32[B] of the labels; blank is id 0.

    Takes logits [B, T, R, V], labels i64[B, U], and the valid frames i64[B] and label counts
    i64[B] of each row; rows need frames >= lengths, or the result is about 1e30. Without `starts`,
    R is U + 1; with `starts` i64[B, T], the R cells of frame t are the label positions from
    starts[t] on, and every other cell is impossible (see `band_starts`).
    """
    width = labels.shape[1] + 1
    if starts is None:
        starts = frames.new_zeros(logits.shape[:2])
    cells = band_cells(starts, logits.shape[2])
    targets = pad(labels, (0, 1)).gather(1, cells.flatten(1)).view_as(cells)
    return _LatticeLoss.apply(logits, targets, cells, width, frames, lengths)


class _LatticeLoss(torch.autograd.Function):
    """Edges, scan and the gradient with respect to the logits in one node: one [T, R, V] buffer."""

    @staticmethod
    def forward(ctx, logits, targets, cells, width, frames, lengths):
        log_probs = logits.float().log_softmax(-1)
        targets = targets.unsqueeze(-1)
        stay = _spread(log_probs[..., BLANK], cells, width)
        emit = _spread(log_probs.gather(3, targets).squeeze(3), cells, width)
        loss, *gradients = scan(stay, emit, frames, lengths)
        stay_grad, emit_grad = (gradient.gather(2, cells) for gradient in gradients)
        grad = log_probs.exp_().mul_(-(stay_grad + emit_grad).unsqueeze(-1))
        grad[..., BLANK] += stay_grad
        grad.scatter_add_(3, targets, emit_grad.unsqueeze(-1))
        ctx.save_for_backward(grad.to(logits.dtype))
        return loss

    @staticmethod
    def backward(ctx, grad_loss):
        (grad,) = ctx.saved_tensors
        return grad * grad_loss[:, None, None, None].to(grad.dtype), None, None, None, None, None


def _spread(banded: Tensor, cells: Tensor, width: int) -> Tensor:
    """Put f32[B, T, R] into its cells of [B, T, width]; the others are impossible."""
    full = banded.new_full((*banded.shape[:2], width), _NEVER)
    return full.scatter_(2, cells, banded)


def band_cells(starts: Tensor, band: int) -> Tensor:
    """Label positions i64[B, T, band] of the band that begins at `starts` i64[B, T]."""
    return starts.unsqueeze(-1) + torch.arange(band, device=starts.device)


@torch.no_grad()
def band_starts(log_probs: Tensor, labels: Tensor, frames: Tensor, lengths: Tensor, band: int) -> tuple[Tensor, int]:
    """Choose for each frame the label positions worth a joiner: starts i64[B, T] and their count.

    The guide is a CTC head, log-probabilities f32[B, T, V]: its own lattice, whose edges do not
    depend on the label position, tells how likely each position is. Starts rise by at most one a
    frame, begin at zero and end where the last label is inside, so a path always exists. The idea
    is pruned RNN-T (Kuang et al., arXiv 2206.13236), with a guide we train anyway.
    """
    width = labels.shape[1] + 1
    band = min(band, width)
    index = pad(labels, (0, 1))[:, None].expand(-1, log_probs.shape[1], -1)
    stay = log_probs[..., BLANK, None].expand_as(index)
    _, *gradients = scan(stay, log_probs.gather(2, index), frames, lengths)
    occupied = pad(torch.cumsum(-(gradients[0] + gradients[1]), 2), (1, 0))
    best = (occupied[:, :, band:] - occupied[:, :, : width - band + 1]).argmax(2)
    return _connected(best, frames, (lengths - band + 1).clamp(min=0)[:, None]), band


def _connected(best: Tensor, frames: Tensor, last: Tensor) -> Tensor:
    """Nearest usable starts to `best`: rising by 0 or 1 a frame, from 0 to `last` [B, 1]."""
    frame = torch.arange(best.shape[1], device=best.device)
    starts = torch.where(frame >= frames[:, None] - 1, last, torch.minimum(best, last))
    starts = torch.minimum(starts.cummax(1).values, frame)
    # starts[t] >= starts[t + 1] - 1, by a running maximum from the right.
    slack = starts - frame
    return (slack.flip(1).cummax(1).values.flip(1) + frame).clamp(min=0)


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
