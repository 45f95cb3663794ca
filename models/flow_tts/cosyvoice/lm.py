"""The language model from text to speech tokens: a decoder of the kind of Qwen2, under the checkpoint's names.

Ids of text, of speech and of what marks the parts of a sequence are one range here: text first, then the rows of
`speech_embedding`, then those of `llm_embedding`, which version 2 has.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.layers import Rotation, additive, rotate
from models.common.pages import Memory, WholeMemory, split_heads
from models.flow_tts.cosyvoice.config import LmSizes


class RmsNorm(nn.Module):
    """Root mean square normalisation."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """f32[..., width] to the same."""
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon))


class Attention(nn.Module):
    """Attention with rotary positions, in which several heads of queries share keys and values."""

    def __init__(self, sizes: LmSizes) -> None:
        super().__init__()
        self.heads, self.kv_heads = sizes.heads, sizes.kv_heads
        shared = sizes.kv_heads * sizes.head_width
        self.q_proj, self.o_proj = nn.Linear(sizes.width, sizes.width), nn.Linear(sizes.width, sizes.width, bias=False)
        self.k_proj, self.v_proj = nn.Linear(sizes.width, shared), nn.Linear(sizes.width, shared)

    def forward(self, x: Tensor, rotation: Rotation, memory: Memory) -> Tensor:
        """f32[B, T, width] to the same."""
        query = rotate(split_heads(self.q_proj(x), self.heads), rotation)
        key = rotate(split_heads(self.k_proj(x), self.kv_heads), rotation)
        value = split_heads(self.v_proj(x), self.kv_heads)
        mixed = memory.attend(query * query.shape[-1] ** -0.5, key, value)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """A gated feed-forward."""

    def __init__(self, sizes: LmSizes) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(sizes.width, sizes.hidden, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(sizes.hidden, sizes.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """f32[..., width] to the same."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and a feed-forward, each normalised before."""

    def __init__(self, sizes: LmSizes) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(sizes), Mlp(sizes)
        self.input_layernorm = RmsNorm(sizes.width, sizes.epsilon)
        self.post_attention_layernorm = RmsNorm(sizes.width, sizes.epsilon)

    def forward(self, x: Tensor, rotation: Rotation, memory: Memory) -> Tensor:
        """f32[B, T, width] to the same."""
        x = x + self.self_attn(self.input_layernorm(x), rotation, memory)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Layers between the embedding of text and the last norm."""

    def __init__(self, sizes: LmSizes) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.texts, sizes.width)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.norm = RmsNorm(sizes.width, sizes.epsilon)


class TokenLm(nn.Module):
    """Ids to logits of the next speech token. The head of text, `lm_head`, is of no use here and left out."""

    def __init__(self, sizes: LmSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.llm = nn.ModuleDict({"model": nn.ModuleDict({"model": Decoder(sizes)})})
        self.speech_embedding = nn.Embedding(sizes.speech, sizes.width)
        self.llm_decoder = nn.Linear(sizes.width, sizes.speech, bias=sizes.head_bias)
        if sizes.specials:
            self.llm_embedding = nn.Embedding(sizes.specials, sizes.width)

    @property
    def body(self) -> Decoder:
        """The layers."""
        return self.llm["model"]["model"]  # type: ignore[index,return-value]

    def forward(self, ids: Tensor) -> Tensor:
        """Logits f32[B, T, speech] after each of the ids i64[B, T] of a whole sequence."""
        place = torch.arange(ids.shape[1]).expand(ids.shape[0], -1)
        memory = WholeMemory(causal(ids.shape[1]))
        return self.llm_decoder(self.run(ids, place, memory))

    def run(self, ids: Tensor, place: Tensor, memory: Memory) -> Tensor:
        """Ids i64[B, T] at places i64[B, T] to what the head takes, f32[B, T, width]."""
        x, rotation = self.embedded(ids), self._rotation(place)
        for layer in self.body.layers:
            x = layer(x, rotation, memory)
        return self.body.norm(x)

    def embedded(self, ids: Tensor) -> Tensor:
        """Ids of one range i64[B, T] to f32[B, T, width]; those out of range are the nearest in range."""
        others = self.speech_embedding.weight
        if self.sizes.specials:
            others = torch.cat([others, self.llm_embedding.weight])
        other = functional.embedding((ids - self.sizes.texts).clamp(0, others.shape[0] - 1), others)
        text = self.body.embed_tokens(ids.clamp(0, self.sizes.texts - 1))
        return torch.where((ids < self.sizes.texts).unsqueeze(2), text, other)

    def _rotation(self, place: Tensor) -> Rotation:
        """Cosines and sines f32[B, 1, T, head width / 2]; angles are taken in double precision."""
        half = self.sizes.head_width // 2
        power = torch.arange(half, dtype=torch.float64) / half
        turns = place.double().unsqueeze(2) * (self.sizes.theta**-power / (2 * math.pi))
        angle = ((turns - turns.floor()) * (2 * math.pi)).float().unsqueeze(1)
        return angle.cos(), angle.sin()


def causal(length: int) -> Tensor:
    """Additive mask f32[T, T]: an id sees itself and those before."""
    place = torch.arange(length)
    return additive(place <= place[:, None])
