"""Speech tokens to mel by flow matching (arXiv 2412.10117): both versions over whole sequences, under streaming masks.

This is the prefix mode: everything that is known runs at once, and what was said already is cut off. Masks hide later
chunks, so what comes out for a chunk does not change when more tokens come.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Whole
from models.common.layers import chunk_mask
from models.common.pages import Memory, WholeMemory
from models.flow_tts.cosyvoice.config import (
    BRANCHES,
    GUIDANCE,
    MELS,
    SPEAKER,
    STEPS,
    TOKEN_FRAMES,
    DitSizes,
    EncoderSizes,
    PlainEncoderSizes,
    UNetSizes,
)
from models.flow_tts.cosyvoice.dit import DiT
from models.flow_tts.cosyvoice.encoder import UpsampleEncoder
from models.flow_tts.cosyvoice.lookahead import PreLookahead
from models.flow_tts.cosyvoice.unet import UNet

Estimator = UNet | DiT


class Flow(nn.Module):
    """What both versions have: an encoder of tokens, a speaker, and an estimator of velocities."""

    def __init__(self, estimator: Estimator, embedding: tuple[int, int]) -> None:
        super().__init__()
        self.input_embedding = nn.Embedding(*embedding)
        self.spk_embed_affine_layer = nn.Linear(SPEAKER, MELS)
        self.decoder = nn.ModuleDict({"estimator": estimator})

    @property
    def estimator(self) -> Estimator:
        """The estimator."""
        return cast(Estimator, self.decoder["estimator"])

    @property
    def ahead(self) -> int:
        """Tokens that the encoder looks ahead."""
        raise NotImplementedError

    @property
    def tokens(self) -> int:
        """How many speech tokens there are."""
        return self.input_embedding.num_embeddings

    def embedded(self, tokens: Tensor) -> Tensor:
        """Tokens i64[B, T] as the encoder takes them; nothing, that is zero, for those below 0."""
        raise NotImplementedError

    def encoded(self, x: Tensor, ahead: Tensor, chunk: int | None) -> Tensor:
        """The prior f32[B, 2 T, 80] of embedded tokens and those after them; chunks of `chunk` tokens, None for one."""
        raise NotImplementedError

    def prior(self, tokens: Tensor, final: bool, chunk: int | None) -> Tensor:
        """The prior of tokens i64[B, T]: f32[B, 2 T, 80], or of all but the last `ahead` where more will come."""
        if final:
            tokens = functional.pad(tokens, (0, self.ahead), value=-1)
        x = self.embedded(tokens)
        return self.encoded(x[:, : -self.ahead], x[:, -self.ahead :], chunk)

    def speaker(self, embedding: Tensor) -> Tensor:
        """The speaker f32[B, 80] of an embedding f32[B, 192]."""
        return self.spk_embed_affine_layer(functional.normalize(embedding, dim=1))

    def forward(
        self, tokens: Tensor, prompt: Tensor, embedding: Tensor, noise: Tensor, final: bool, chunk: int | None
    ) -> Tensor:
        """Mel f32[B, F, 80] of tokens i64[B, T], those of the prompt included.

        `prompt` f32[B, P, 80] is the prompt's mel, `embedding` f32[B, 192] its speaker's, `noise` f32[B, F or more, 80]
        standard normal, counted from the prompt's start. F is 2 T, less what is not certain yet unless `final`.
        """
        mu = self.prior(tokens, final, chunk)
        frames = mu.shape[1]
        prompt = functional.pad(prompt, (0, 0, 0, max(frames - prompt.shape[1], 0)))[:, :frames]
        speaker = self.speaker(embedding).unsqueeze(1).expand(-1, frames, -1)
        mask = None if chunk is None else chunk_mask(frames, TOKEN_FRAMES * chunk, frames, mu.device)
        frame = torch.arange(frames).expand(mu.shape[0], -1)
        x, (conditions, lengths) = noise[:, :frames], self.schedule()
        for step in range(STEPS):
            made = conditions[step].expand(mu.shape[0], -1)
            x = x + lengths[step] * self.velocity(x, (mu, speaker, prompt), made, frame, (Whole(), WholeMemory(mask)))
        return x

    def schedule(self) -> tuple[Tensor, Tensor]:
        """What depends on the time alone, f32[steps, n], and the lengths f32[steps] of the steps."""
        times = 1 - torch.cos(torch.linspace(0, 1, STEPS + 1) * (math.pi / 2))
        return self.estimator.conditions(times[:-1]), times.diff()

    def velocity(
        self,
        x: Tensor,
        given: tuple[Tensor, Tensor, Tensor],
        conditions: Tensor,
        frame: Tensor,
        how: tuple[Whole, Memory],
    ) -> Tensor:
        """Guided velocity f32[B, T, 80] at x; `given` are prior, speaker and prompt f32[B, T, 80] each.

        Both branches run in one batch, side by side: with all that is given, and with none of it.
        """
        both = [torch.stack([part, torch.zeros_like(part)], 1).flatten(0, 1) for part in given]
        joined = self.estimator.joined(x.repeat_interleave(BRANCHES, 0), *both)
        made, places = conditions.repeat_interleave(BRANCHES, 0), frame.repeat_interleave(BRANCHES, 0)
        found = self.estimator.run(joined, made, how[0], how[1], places)
        guided, free = found.unflatten(0, (-1, BRANCHES)).unbind(1)
        return (1 + GUIDANCE) * guided - GUIDANCE * free


class Flow2(Flow):
    """CosyVoice 2."""

    def __init__(self, encoder: EncoderSizes, estimator: UNetSizes) -> None:
        super().__init__(UNet(estimator), (encoder.tokens, encoder.width))
        self.encoder = UpsampleEncoder(encoder)
        self.encoder_proj = nn.Linear(encoder.width, MELS)

    @property
    def ahead(self) -> int:
        """See `Flow`."""
        return self.encoder.sizes.ahead

    def embedded(self, tokens: Tensor) -> Tensor:
        """See `Flow`."""
        rows = self.input_embedding(tokens.clamp(0, self.encoder.sizes.tokens - 1))
        return self.encoder.embed(rows) * (tokens >= 0).unsqueeze(2)

    def encoded(self, x: Tensor, ahead: Tensor, chunk: int | None) -> Tensor:
        """See `Flow`."""
        masks: list[Tensor | None] = [None, None]
        if chunk is not None:
            tokens = x.shape[1]
            sizes = (tokens, chunk), (TOKEN_FRAMES * tokens, TOKEN_FRAMES * chunk)
            masks = [chunk_mask(length, each, length, x.device) for length, each in sizes]
        return self.encoder_proj(self.encoder(x, ahead, (masks[0], masks[1])))


class Flow3(Flow):
    """CosyVoice 3. Its encoder has no attention, so nothing but the look-ahead depends on later tokens."""

    def __init__(self, encoder: PlainEncoderSizes, estimator: DitSizes) -> None:
        super().__init__(DiT(estimator), (encoder.tokens, encoder.width))
        self.sizes = encoder
        self.pre_lookahead_layer = PreLookahead(encoder.width, encoder.hidden, encoder.ahead)

    @property
    def ahead(self) -> int:
        """See `Flow`."""
        return self.sizes.ahead

    def embedded(self, tokens: Tensor) -> Tensor:
        """See `Flow`."""
        return self.input_embedding(tokens.clamp(0, self.sizes.tokens - 1)) * (tokens >= 0).unsqueeze(2)

    def encoded(self, x: Tensor, ahead: Tensor, chunk: int | None) -> Tensor:
        """See `Flow`."""
        return self.pre_lookahead_layer.run(x, ahead, Whole()).repeat_interleave(TOKEN_FRAMES, 1)
