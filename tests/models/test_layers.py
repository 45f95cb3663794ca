"""Every streaming layer: whole signal against chunks with explicit state."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.layers import Attention, CausalConv2d, ConvModule, Rotary, additive, chunk_mask  # noqa: E402


@pytest.mark.parametrize("chunk", [2, 4, 8])
def test_strided_convolution_in_chunks_equals_whole(chunk: int) -> None:
    """One cached row of input makes any even chunking equal to the whole."""
    torch.manual_seed(0)
    conv, x = CausalConv2d(3, 5), torch.randn(2, 3, 16, 10)
    cache, parts = torch.zeros(2, 3, 1, 10), []
    for part in x.split(chunk, 2):
        y, cache = conv.step(part, cache)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 2), conv(x))


@pytest.mark.parametrize("chunk", [1, 2, 3, 12])
def test_depthwise_convolution_in_chunks_equals_whole(chunk: int) -> None:
    """kernel - 1 cached frames make any chunking equal to the whole."""
    torch.manual_seed(0)
    module, x = ConvModule(8, 5), torch.randn(2, 12, 8)
    cache, parts = torch.zeros(2, 4, 8), []
    for part in x.split(chunk, 1):
        y, cache = module.step(part, cache)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), module(x))


def test_attention_over_a_shuffled_ring_equals_the_mask() -> None:
    """Rotated keys carry their own position, so the order of the ring does not matter."""
    torch.manual_seed(0)
    attention, rotary, x = Attention(16, 2), Rotary(8, 32), torch.randn(2, 8, 16)
    whole = attention(x, rotary(torch.arange(8)), chunk_mask(8, 4, 4, x.device))
    nothing = torch.zeros(2, 4, 16)
    visible = torch.tensor([[False] * 4 + [True] * 4])
    first, ring = attention.step(x[:, :4], rotary(torch.arange(4)), additive(visible), (nothing, nothing))
    order = torch.tensor([2, 0, 3, 1])
    ring = tuple(rows[:, order] for rows in ring)
    second, _ = attention.step(x[:, 4:], rotary(torch.arange(4, 8)), torch.zeros(1, 8), ring)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


def test_positions_are_exact_after_any_number_of_periods() -> None:
    """A position and the same position many periods later turn by identical numbers."""
    rotary, positions = Rotary(16, 64), torch.arange(64)
    for early, late in zip(rotary(positions), rotary(positions + 64 * 10**9), strict=True):
        assert torch.equal(early, late)


def test_rotation_distinguishes_every_distance_of_a_period() -> None:
    """The lowest frequency is one turn per period, so no two positions look alike."""
    cos, sin = Rotary(16, 64)(torch.arange(64))
    rows = torch.cat([cos, sin], -1).flatten(1)
    assert torch.cdist(rows, rows).fill_diagonal_(1).min() > 0.05


def test_more_frequencies_than_integers_are_refused() -> None:
    """Distinct integer frequencies up to half the period must exist."""
    with pytest.raises(ValueError, match="expected at most 4 frequencies, got 5"):
        Rotary(10, 8)


def test_chunk_mask_shows_the_chunk_and_its_left_context() -> None:
    """A frame sees its whole chunk and `left` frames before that chunk, nothing else."""
    visible = chunk_mask(6, 2, 2, torch.device("cpu")) == 0
    rows = ["".join("x" if v else "." for v in row) for row in visible.tolist()]
    assert rows == ["xx....", "xx....", "xxxx..", "xxxx..", "..xxxx", "..xxxx"]
