"""Symbols of a piece of text to what each sounds like in its place, and how long it is."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import FrameConv
from models.common.layers import Attention, Rotary, additive
from models.flow_tts.config import TextConfig

PERIOD = 1024
# A symbol looks no further: so what a piece sounds like does not change with how long it is.
REACH = 32


class TextEncoder(nn.Module):
    """Transformer layers over symbols, all of a piece at once (after FastSpeech, arXiv 1905.09263, and Matcha-TTS)."""

    def __init__(self, config: TextConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.symbols, config.width)
        nn.init.normal_(self.embed.weight, std=config.width**-0.5)
        self.enter = FrameConv(config.width, config.width, config.kernel, causal=False)
        self.positions = Rotary(config.width // config.heads, PERIOD)
        self.layers = nn.ModuleList(_Layer(config, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.durations = _Durations(config.width, dropout)

    def forward(self, symbols: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map i64[B, P], where bool[B, P] `mask` is true, to f32[B, P, width] and natural logs of frames f32[B, P]."""
        count = symbols.shape[1]
        here = torch.arange(count, device=symbols.device)
        rotation = self.positions(here)
        visible = ((here[:, None] - here).abs() <= REACH)[None, None]
        if mask is not None:
            visible = visible & mask[:, None, None]
        hidden = additive(visible)
        x = self.embed(symbols)
        x = kept(x + functional.gelu(self.enter(kept(x, mask))), mask)
        for layer in self.layers:
            x = layer(x, rotation, hidden, mask)
        x = self.norm(x)
        # The durations learn from the encoder but do not teach it: what is heard matters more.
        return x, self.durations(x.detach(), mask)


class _Layer(nn.Module):
    def __init__(self, config: TextConfig, dropout: float) -> None:
        super().__init__()
        self.attend = Attention(config.width, config.heads)
        self.widen = FrameConv(config.width, config.inner, 3, causal=False)
        self.narrow = nn.Linear(config.inner, config.width)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], hidden: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.dropout(self.attend(self.norms[0](x), rotation, hidden))
        inner = self.dropout(functional.gelu(self.widen(kept(self.norms[1](x), mask))))
        return kept(x + self.dropout(self.narrow(inner)), mask)


class _Durations(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(FrameConv(width, width, 3, causal=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.leave = nn.Linear(width, 1)
        nn.init.constant_(self.leave.bias, 1.0)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.dropout(norm(functional.gelu(convolution(kept(x, mask)))))
        return self.leave(x).squeeze(2)


def kept(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero f32[B, T, C] where bool[B, T] is false, so that padding sounds like the end."""
    return x if mask is None else x * mask.unsqueeze(2)
