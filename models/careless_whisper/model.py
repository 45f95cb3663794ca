"""Whisper with a block-causal encoder, under OpenAI's parameter names.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (arXiv 2212.04356); made causal as in
arXiv 2508.12301: a mask over blocks of encoder frames, and low-rank adapters on all four projections of every
attention. Without mask and adapters it is the offline model.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.careless_whisper.config import Chunking, Dims
from models.common.layers import additive


class Projection(nn.Linear):
    """A linear layer with an optional low-rank adapter: y = W x + b + (x A) B, A f32[in, r], B f32[r, out].

    The adapter's scale alpha / r is 1 throughout.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.register_parameter("lora_a", None)
        self.register_parameter("lora_b", None)

    def adapt(self, rank: int) -> None:
        """Add an adapter that changes nothing yet."""
        self.lora_a = nn.Parameter(torch.empty(self.in_features, rank, device=self.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(rank, self.out_features, device=self.weight.device))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    @torch.no_grad()
    def merge(self) -> None:
        """Put the adapter, if there is one, into the weight."""
        if self.lora_a is not None:
            self.weight += (self.lora_a @ self.lora_b).T
            self.lora_a = self.lora_b = None

    def forward(self, x: Tensor) -> Tensor:
        """Map f32[..., in] to f32[..., out]."""
        y = super().forward(x)
        return y if self.lora_a is None else y + (x @ self.lora_a) @ self.lora_b


class Attention(nn.Module):
    """Multi-head attention; the key projection has no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Projection(width, width)
        self.key = Projection(width, width, bias=False)
        self.value = Projection(width, width)
        self.out = Projection(width, width)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries of f32[B, N, d] over keys and values of `source` f32[B, T, d], under an additive mask."""
        return self.attend(self.query(x), self.key(source), self.value(source), mask)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Projected queries f32[B, N, d], keys and values f32[B, T, d]; `mask` broadcasts to f32[B, heads, N, T]."""
        split = [self.split(part) for part in (query, key, value)]
        mixed = _dot_product(*split, mask)
        return self.out(mixed.transpose(1, 2).flatten(-2))

    def split(self, x: Tensor) -> Tensor:
        """f32[B, N, d] to f32[B, heads, N, d / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer layer, with cross-attention in the decoder."""

    def __init__(self, width: int, heads: int, crosses: bool = False) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        self.cross_attn = Attention(width, heads) if crosses else None
        self.cross_attn_ln = nn.LayerNorm(width) if crosses else None
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, audio: Tensor | None = None, audio_mask: Tensor | None = None
    ) -> Tensor:
        """Whole sequence f32[B, N, d]; `audio` f32[B, T, d] is what the cross-attention hears."""
        y = self.attn_ln(x)
        x = x + self.attn(y, y, mask)
        if self.cross_attn is not None:
            x = x + self.cross_attn(self.cross_attn_ln(x), audio, audio_mask)
        return x + self.mlp(self.mlp_ln(x))


class AudioEncoder(nn.Module):
    """Two convolutions and transformer layers: mel rows of 10 ms to frames of 20 ms."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        width = dims.n_audio_state
        self.conv1 = nn.Conv1d(dims.n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", sinusoids(dims.n_audio_ctx, width))
        self.blocks = nn.ModuleList(Block(width, dims.n_audio_head) for _ in range(dims.n_audio_layer))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map normalised log-mel f32[B, mels, 2 T] or [B, mels, 2 T + 1] to frames f32[B, T, d].

        With the odd row, which is the look-ahead of a stream, the last frame is whole; without, zero stands for it.
        `mask` is additive, f32[T, T]; None is the offline model.
        """
        frames = mel.shape[2] // 2
        x = self.stem(mel)[:, :frames] + self.positional_embedding[:frames]
        for block in self.blocks:
            x = block(x, mask)
        return self.ln_post(x)

    def stem(self, mel: Tensor) -> Tensor:
        """Convolutions alone, f32[B, mels, M] to f32[B, ceil(M / 2), d]."""
        return functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)


class TextDecoder(nn.Module):
    """Token embedding, learned positions, transformer layers with cross-attention, tied output."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        width = dims.n_text_state
        self.token_embedding = nn.Embedding(dims.n_vocab, width)
        self.positional_embedding = nn.Parameter(torch.randn(dims.n_text_ctx, width) * 0.01)
        self.blocks = nn.ModuleList(Block(width, dims.n_text_head, True) for _ in range(dims.n_text_layer))
        self.ln = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, audio: Tensor, audio_mask: Tensor | None = None) -> Tensor:
        """Logits f32[B, L, vocabulary] of i64[B, L] tokens over `audio` f32[B, T, d].

        `audio_mask` is additive and broadcasts to f32[B, 1, L, T]: which frames have been heard.
        """
        length = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        mask = causal_mask(length, x.device)
        for block in self.blocks:
            x = block(x, mask, audio, audio_mask)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Logits f32[..., vocabulary] of states f32[..., d]."""
        return self.ln(x) @ self.token_embedding.weight.T


class Whisper(nn.Module):
    """Encoder and decoder; `state_dict` has exactly the keys of OpenAI's checkpoints."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dims
        self.encoder = AudioEncoder(dims)
        self.decoder = TextDecoder(dims)

    def forward(self, mel: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits f32[B, L, vocabulary] of `tokens` i64[B, L] over `mel` f32[B, mels, 2 T]; see the two halves."""
        return self.decoder(tokens, self.encoder(mel, mask))

    def adapt(self, rank: int) -> None:
        """Add an adapter to all four projections of every attention."""
        for module in list(self.modules()):
            if isinstance(module, Projection):
                module.adapt(rank)

    def merge(self) -> None:
        """Put all adapters into the weights."""
        for module in self.modules():
            if isinstance(module, Projection):
                module.merge()


def _dot_product(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention; under autocast on a CPU, plain products, which take half the time of the fused kernel in training."""
    if mask is None or mask.ndim != 2 or query.dtype != torch.bfloat16 or query.device.type != "cpu":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    rows, heads = query.shape[:2]
    with torch.autocast("cpu", enabled=False):
        scaled, keys = (query * query.shape[-1] ** -0.5).flatten(0, 1), key.flatten(0, 1).transpose(1, 2)
        scores = torch.baddbmm(mask.to(query.dtype).expand(rows * heads, -1, -1), scaled, keys)
        return torch.bmm(scores.softmax(-1), value.flatten(0, 1)).unflatten(0, (rows, heads))


def sinusoids(length: int, width: int) -> Tensor:
    """Fixed positions f32[length, width]: sines, then cosines, of a geometric row of frequencies."""
    rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angle = torch.arange(length)[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], 1)


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Additive mask f32[L, L]: a token sees itself and those before."""
    return additive(torch.ones(length, length, dtype=torch.bool, device=device).tril())


def block_mask(frames: int, chunking: Chunking, device: torch.device | None = None) -> Tensor:
    """Additive mask f32[T, T]: a frame sees all blocks up to the end of its own; the first block is a longer one."""
    position = torch.arange(frames, device=device)
    return sized_mask((position // chunking.gran + 1).clamp(min=chunking.extra + 1) * chunking.gran)


def sized_mask(limits: Tensor) -> Tensor:
    """Additive mask f32[T, T] of the number i64[T] of frames that each frame sees."""
    return additive(torch.arange(len(limits), device=limits.device) < limits[:, None])
