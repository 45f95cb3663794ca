"""The lattice with at most one symbol per frame, against an enumeration of its paths."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from itertools import combinations  # noqa: E402

from models.transducer.loss import band_cells, band_starts, transducer_loss  # noqa: E402

FRAMES, LENGTHS = torch.tensor([6, 5, 3]), torch.tensor([3, 1, 3])
LABELS = torch.tensor([[2, 1, 2], [3, 0, 0], [1, 1, 4]])


def logits(band: int = 4) -> torch.Tensor:
    return torch.randn(3, 6, band, 5, generator=torch.Generator().manual_seed(3)) * 2


def enumerated(scores: torch.Tensor, row: int, starts: torch.Tensor | None = None) -> torch.Tensor:
    """Sum over every choice of the frames that emit, written as directly as it is defined."""
    frames, count = int(FRAMES[row]), int(LENGTHS[row])
    log_probs, paths = scores[row].log_softmax(-1), []
    for emitting in combinations(range(frames), count):
        said, total = 0, torch.zeros(())
        for t in range(frames):
            cell = said - (0 if starts is None else int(starts[row, t]))
            if not 0 <= cell < scores.shape[2]:
                break
            token = int(LABELS[row, said]) if t in emitting else 0
            total = total + log_probs[t, cell, token]
            said += t in emitting
        else:
            paths.append(total)
    return -torch.logsumexp(torch.stack(paths), 0)


def test_loss_and_gradient_equal_the_sum_over_all_paths() -> None:
    """Loss and gradient agree with plain autograd through the enumeration, rows weighted differently."""
    weights = torch.tensor([1.0, 2.0, 0.5])
    ours, theirs = logits().requires_grad_(), logits().requires_grad_()
    loss = transducer_loss(ours, LABELS, FRAMES, LENGTHS)
    expected = torch.stack([enumerated(theirs, row) for row in range(3)])
    torch.testing.assert_close(loss, expected)
    (loss * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_band_keeps_exactly_the_paths_inside_it() -> None:
    """With starts, paths that leave the band are impossible and the others count as before."""
    starts = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0], [0, 1, 2, 2, 2, 2]])
    ours, theirs = logits(2).requires_grad_(), logits(2).requires_grad_()
    loss = transducer_loss(ours, LABELS, FRAMES, LENGTHS, starts)
    expected = torch.stack([enumerated(theirs, row, starts) for row in range(3)])
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_what_lies_beyond_a_row_is_ignored() -> None:
    """Padding frames and padding labels change neither the loss nor receive a gradient."""
    clean = logits().requires_grad_()
    transducer_loss(clean, LABELS, FRAMES, LENGTHS).sum().backward()
    noisy = logits()
    noisy[1, 5:] = 50.0
    noisy[1, :, 2:] = -50.0
    torch.testing.assert_close(
        transducer_loss(noisy, LABELS, FRAMES, LENGTHS), transducer_loss(logits(), LABELS, FRAMES, LENGTHS)
    )
    assert not clean.grad[1, 5:].any()
    assert not clean.grad[1, :, 2:].any()


@pytest.mark.parametrize("seed", range(8))
def test_a_path_exists_inside_every_band(seed: int) -> None:
    """Starts begin at zero, rise by at most one a frame and let the last label be said in time."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(1, 9, (4, 20), generator=generator)
    lengths = torch.tensor([20, 11, 3, 1])
    frames = torch.tensor([40, 12, 30, 21])
    guide = (torch.randn(4, 40, 9, generator=generator) * 4).log_softmax(-1)
    starts, band = band_starts(guide, labels, frames, lengths, 5)
    assert band == 5
    rises = starts.diff(dim=1)
    assert not starts[:, 0].any()
    assert rises.min() >= 0
    assert rises.max() <= 1
    assert int(band_cells(starts, band).max()) <= 20
    loss = transducer_loss(torch.zeros(4, 40, band, 9), labels, frames, lengths, starts)
    assert loss.max() < 1e3


def test_the_band_follows_a_sure_guide() -> None:
    """Where the guide knows the alignment, the band holds the label position of every frame."""
    labels, frames, lengths = torch.arange(1, 9)[None], torch.tensor([24]), torch.tensor([8])
    guide = torch.full((1, 24, 9), -9.0)
    said = torch.zeros(24, dtype=torch.long)
    for t in range(24):
        token = t // 3 + 1 if t % 3 == 1 else 0
        guide[0, t, token] = 9.0
        said[t] = (t + 1) // 3
    starts, band = band_starts(guide.log_softmax(-1), labels, frames, lengths, 3)
    assert ((starts[0] <= said) & (said < starts[0] + band)).all()
