"""The token encoder of CosyVoice 2: transformer layers with relative positions, twice as many frames half way.

Relative positions are those of Transformer-XL (arXiv 1901.02860) as ESPnet has them: a table of sinusoids of both
signs, projected by each layer. What a layer makes of the table does not change, so a stream looks it up.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Whole
from models.common.pages import Memory, WholeMemory, split_heads
from models.flow_tts.cosyvoice.config import TOKEN_FRAMES, EncoderSizes
from models.flow_tts.cosyvoice.convs import Conv
from models.flow_tts.cosyvoice.lookahead import PreLookahead

_PERIOD = 10_000.0


class RelativeAttention(nn.Module):
    """Attention whose scores also depend on distance: q (k + p) with a bias of its own for each."""

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.linear_q, self.linear_k, self.linear_v = (nn.Linear(width, width) for _ in range(3))
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.randn(sizes.heads, width // sizes.heads) * 0.1)
        self.pos_bias_v = nn.Parameter(torch.randn(sizes.heads, width // sizes.heads) * 0.1)

    def forward(self, x: Tensor, places: Tensor, memory: Memory) -> Tensor:
        """f32[B, T, d] to the same; `places` f32[D, d], what `linear_pos` makes of falling distances.

        The first is that from the last frame to the first that is seen, the last that from the first to the last.
        """
        query, key, value = (split_heads(part(x), self.heads) for part in (self.linear_q, self.linear_k, self.linear_v))
        scale = query.shape[-1] ** -0.5
        distant = (query + self.pos_bias_v[:, None]) @ split_heads(places[None], self.heads).transpose(-1, -2)
        bias = shifted(distant * scale)
        mixed = memory.attend((query + self.pos_bias_u[:, None]) * scale, key, value, bias)
        return self.linear_out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with SiLU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """f32[..., d] to the same."""
        return self.w_2(functional.silu(self.w_1(x)))


class Layer(nn.Module):
    """Attention and a feed-forward, each normalised before."""

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(sizes)
        self.feed_forward = FeedForward(sizes.width, sizes.hidden)
        # Not PyTorch's 1e-5: ESPnet's.
        self.norm_mha, self.norm_ff = nn.LayerNorm(sizes.width, 1e-12), nn.LayerNorm(sizes.width, 1e-12)

    def forward(self, x: Tensor, places: Tensor, memory: Memory) -> Tensor:
        """f32[B, T, d] to the same; see `RelativeAttention`."""
        x = x + self.self_attn(self.norm_mha(x), places, memory)
        return x + self.feed_forward(self.norm_ff(x))


class Enter(nn.Module):
    """A linear layer, LayerNorm, and the scale that goes before positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.ModuleList([nn.Linear(width, width), nn.LayerNorm(width)])
        self.scale = math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        """f32[B, T, d] to the same."""
        return self.out[1](self.out[0](x)) * self.scale


class Up(nn.Module):
    """Every frame twice, then a causal convolution."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = Conv(width, width, kernel)


class UpsampleEncoder(nn.Module):
    """Embedded tokens f32[B, T, d] to f32[B, 2 T, d]."""

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed, self.up_embed = Enter(sizes.width), Enter(sizes.width)
        self.pre_lookahead_layer = PreLookahead(sizes.width, sizes.width, sizes.ahead)
        self.encoders = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.up_layer = Up(sizes.width, sizes.up_kernel)
        self.up_encoders = nn.ModuleList(Layer(sizes) for _ in range(sizes.up_layers))
        self.after_norm = nn.LayerNorm(sizes.width)

    def run(
        self, x: Tensor, ahead: Tensor, runner: Whole, places: tuple[list[Tensor], list[Tensor]],
        memories: tuple[Memory, Memory],
    ) -> Tensor:  # fmt: skip
        """Tokens f32[B, T, d] and those after them, both through `embed`, to frames f32[B, 2 T, d]."""
        x = self.pre_lookahead_layer.run(x, ahead, runner)
        for layer, place in zip(self.encoders, places[0], strict=True):
            x = layer(x, place, memories[0])
        x = runner.step(self.up_layer.conv, x.repeat_interleave(TOKEN_FRAMES, 1))
        x = self.up_embed(x)
        for layer, place in zip(self.up_encoders, places[1], strict=True):
            x = layer(x, place, memories[1])
        return self.after_norm(x)

    def forward(self, x: Tensor, ahead: Tensor, masks: tuple[Tensor | None, Tensor | None]) -> Tensor:
        """The whole sequence; `masks` of tokens and of frames, None to see everything."""
        tokens = x.shape[1]
        frames = TOKEN_FRAMES * tokens
        places = self.places(self.encoders, tokens, tokens), self.places(self.up_encoders, frames, frames)
        return self.run(x, ahead, Whole(), places, (WholeMemory(masks[0]), WholeMemory(masks[1])))

    def places(self, layers: nn.ModuleList, past: int, future: int) -> list[Tensor]:
        """What each layer makes of the distances from `past` - 1 down to 1 - `future`."""
        table = sinusoids(torch.arange(past - 1, -future, -1), self.sizes.width)
        return [layer.self_attn.linear_pos(table) for layer in layers]


def sinusoids(distance: Tensor, width: int) -> Tensor:
    """Sines and cosines f32[D, width] of distances i64[D], alternating."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(_PERIOD) / width))
    angle = distance.double()[:, None] * rates
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1).float()


def shifted(x: Tensor) -> Tensor:
    """Scores f32[B, H, T, D] by falling distance to f32[B, H, T, D - T + 1] by what is seen: each row one further."""
    rows, frames, distances = x.shape[:2], x.shape[2], x.shape[3]
    x = functional.pad(x, (1, 0)).view(*rows, distances + 1, frames)
    return x[:, :, 1:].view(*rows, frames, distances)[..., : distances - frames + 1]
