"""The codec: encoder, quantiser and decoder, whole or step by step with explicit state."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.codec.config import LOST, SILENT, Config, Side
from models.codec.quantiser import Quantiser
from models.codec.transform import Transform
from models.common.frame_layers import Block, Caches, Chain, FrameConv, Whole, Windowed

# What is left of the last latent from one lost frame to the next, and how many such frames until silence fades in.
_FADING, _FADE_FROM, _FADE_FRAMES = 0.8, 6, 6
# Lost frames are counted no further than this, so that a state is bounded.
_MOST_LOST = 64
# In nepers of compressed rows: factors of 55 up and down.
_MOST_GAIN = 4.0
# Levels of bands: fixed affine normalisation of natural logarithms to about zero mean and unit variance.
_LEAST_LEVEL, _LEVEL_MEAN, _LEVEL_SCALE = 1e-4, -5.0, 0.4


class _Runner(Protocol):
    def step(self, layer: Windowed, x: Tensor) -> Tensor: ...


def _blocks(config: Config, side: Side, count: int) -> nn.ModuleList:
    arguments = (side.width, side.inner, config.kernel, config.activation, config.response_norm, config.causal)
    return nn.ModuleList(Block(*arguments) for _ in range(count))


def _path_norm(config: Config, side: Side) -> nn.Module:
    return nn.LayerNorm(side.width) if config.path_norm else nn.Identity()


class Encoder(nn.Module):
    """Samples to latents: transform, ConvNeXt blocks at its rate, a learned step down, blocks at the codec's rate."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        side, self.ratio = config.encoder, config.ratio
        self.transform = Transform(config.hop, config.transform)
        self.bands = config.bands
        self.enter = FrameConv(config.coefficients + config.bands, side.width, side.enter, config.causal)
        self.blocks = _blocks(config, side, side.blocks)
        self.norm = _path_norm(config, side)
        self.down = FrameConv(config.ratio * side.width, side.width, side.resample, config.causal)
        self.low_blocks = _blocks(config, side, side.low_blocks)
        self.low_norm = _path_norm(config, side)
        self.leave = FrameConv(side.width, config.latent, side.leave, config.causal)
        self.caches = Caches([self.enter, *self.blocks, self.down, *self.low_blocks, self.leave], [config.hop])

    def forward(self, samples: Tensor, hints: list[Tensor] | None = None) -> Tensor:
        """Whole f32[B, T * frame_samples] to f32[B, T, D]; `hints` collects what a student imitates."""
        carry = torch.zeros(samples.shape[0], self.transform.hop, device=samples.device)
        return self._run(Whole(), self.transform.rows(samples, carry)[0], hints)

    def step(self, samples: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk of any T with the state f32[B, caches.size], zero at the start, and the state after."""
        (carry,), chain = self.caches.split(past)
        rows, carry = self.transform.rows(samples, carry)
        latents = self._run(chain, rows, None)
        return latents, chain.join([carry])

    def _run(self, run: _Runner, rows: Tensor, hints: list[Tensor] | None) -> Tensor:
        if self.bands:
            # Compressed rows squared are magnitudes. A sum of normalised branches cannot tell levels so far apart.
            levels = (rows.unflatten(2, (self.bands, -1)).square().mean(3) + _LEAST_LEVEL).log()
            rows = torch.cat([rows, _LEVEL_SCALE * (levels - _LEVEL_MEAN)], 2)
        x = run.step(self.enter, rows)
        for block in self.blocks:
            x = _noted(run.step(block, x), hints)
        x = self.norm(x).unflatten(1, (-1, self.ratio)).flatten(2)
        x = _noted(run.step(self.down, x), hints)
        for block in self.low_blocks:
            x = _noted(run.step(block, x), hints)
        return run.step(self.leave, self.low_norm(x))


@dataclass(frozen=True)
class Concealed:
    """Latents with the gaps closed, and what the next chunk needs for that."""

    latents: Tensor  # f32[B, T, D]
    last: Tensor  # f32[B, D]: the last latent that was received
    missing: Tensor  # f32[B, 1]: frames lost since


class Concealer(nn.Module):
    """Closes gaps: `lost` plus the last latent, weaker with every lost frame, then towards silence."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.lost = nn.Parameter(torch.zeros(latent))
        self.silent = nn.Parameter(torch.zeros(latent))

    def forward(self, latents: Tensor, kind: Tensor, last: Tensor, missing: Tensor) -> Concealed:
        """Latents f32[B, T, D] and kinds i64[B, T] with the `last` and `missing` of the chunk before."""
        frames = latents.shape[1]
        received = torch.where((kind == SILENT).unsqueeze(2), self.silent, latents)
        # Of each frame, the newest received one up to it, from 1; 0 is the one of the chunk before.
        number = torch.arange(1, frames + 1, device=kind.device)
        marks = torch.where(kind == LOST, 0, number).unsqueeze(1).expand(-1, frames, -1)
        newest = torch.where(number.view(1, -1, 1) >= number.view(1, 1, -1), marks, 0).amax(2)
        source = torch.cat([last.unsqueeze(1), received], 1)
        held = source.gather(1, newest.unsqueeze(2).expand(-1, -1, latents.shape[2]))
        age = (number - newest).float() + torch.where(newest == 0, missing, 0.0)
        age = age.clamp_max(_MOST_LOST).unsqueeze(2)
        guess = self.lost + _FADING**age * held
        guess = guess + ((age - _FADE_FROM) / _FADE_FRAMES).clamp(0, 1) * (self.silent - guess)
        closed = torch.where((kind == LOST).unsqueeze(2), guess, received)
        return Concealed(closed, held[:, -1], age[:, -1])


class Decoder(nn.Module):
    """Latents to samples: blocks at the codec's rate, a linear step up, ConvNeXt blocks, the inverse transform."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        side, self.ratio, self.latent, self.hop = config.decoder, config.ratio, config.latent, config.hop
        self.conceal = Concealer(config.latent)
        self.enter = FrameConv(config.latent, side.width, side.enter, config.causal)
        self.low_blocks = _blocks(config, side, side.low_blocks)
        self.up = FrameConv(side.width, config.ratio * side.width, side.resample, config.causal)
        self.blocks = _blocks(config, side, side.blocks)
        self.norm = _path_norm(config, side)
        self.leave = FrameConv(side.width, config.coefficients, side.leave, config.causal)
        self.gains = nn.Linear(side.width, config.bands) if config.bands else None
        if self.gains:
            for parameter in self.gains.parameters():
                nn.init.zeros_(parameter)
        self.transform = Transform(config.hop, config.transform)
        layers = [self.enter, *self.low_blocks, self.up, *self.blocks, self.leave]
        self.caches = Caches(layers, [config.hop, config.latent, 1])

    def forward(self, latents: Tensor, kind: Tensor, hints: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Whole f32[B, T, D] and i64[B, T] to samples f32[B, T * frame_samples] and the compressed rows they are of."""
        zeros = torch.zeros(latents.shape[0], self.hop + self.latent + 1, device=latents.device)
        tail, last, missing = zeros.split([self.hop, self.latent, 1], 1)
        closed = self.conceal(latents, kind, last, missing)
        rows = self._run(Whole(), closed.latents, hints)
        return self.transform.samples(rows, tail)[0], rows

    def step(self, latents: Tensor, kind: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk of any T with the state f32[B, caches.size], zero at the start, and the state after."""
        (tail, last, missing), chain = self.caches.split(past)
        closed = self.conceal(latents, kind, last, missing)
        rows = self._run(chain, closed.latents, None)
        samples, tail = self.transform.samples(rows, tail)
        return samples, chain.join([tail, closed.last, closed.missing])

    def _run(self, run: _Runner | Chain, latents: Tensor, hints: list[Tensor] | None) -> Tensor:
        x = run.step(self.enter, latents)
        for block in self.low_blocks:
            x = _noted(run.step(block, x), hints)
        x = _noted(run.step(self.up, x).unflatten(2, (self.ratio, -1)).flatten(1, 2), hints)
        for block in self.blocks:
            x = _noted(run.step(block, x), hints)
        x = self.norm(x)
        rows = run.step(self.leave, x).float()
        if self.gains is None:
            return rows
        # Levels of speech span 60 dB and more, sums of normalised branches do not.
        gains = self.gains(x).float().clamp(-_MOST_GAIN, _MOST_GAIN).exp()
        return (rows.unflatten(2, (gains.shape[2], -1)) * gains.unsqueeze(3)).flatten(2)


class Codec(nn.Module):
    """Speech at 16 kHz to codes and back; bitrates may differ from row to row and from frame to frame."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantiser = Quantiser(config)
        self.decoder = Decoder(config)

    def encode(self, samples: Tensor) -> Tensor:
        """Whole f32[B, T * frame_samples] to codes i64[B, T, Q]."""
        return self.quantiser.encode(self.encoder(samples))

    def decode(self, codes: Tensor, kind: Tensor | None = None) -> Tensor:
        """Codes i64[B, T, Q], `ABSENT` where not sent, and kinds i64[B, T] to f32[B, T * frame_samples]."""
        kind = torch.zeros_like(codes[:, :, 0]) if kind is None else kind
        return self.decoder(self.quantiser.decode(codes), kind)[0]

    def encode_step(self, samples: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """`encode` of one chunk, with and to a state f32[B, encoder.caches.size]."""
        latents, past = self.encoder.step(samples, past)
        return self.quantiser.encode(latents), past

    def decode_step(self, codes: Tensor, kind: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """`decode` of one chunk, with and to a state f32[B, decoder.caches.size]."""
        return self.decoder.step(self.quantiser.decode(codes), kind, past)

    @torch.no_grad()
    def scale_latents(self, factor: float) -> None:
        """Make latents `factor` times as large without a change of what is decoded."""
        for parameter in (*self.encoder.leave.parameters(), *self.decoder.conceal.parameters()):
            parameter.mul_(factor)
        self.decoder.enter.linear.weight.div_(factor)

    def initial_states(self, batch: int) -> tuple[Tensor, Tensor]:
        """States of the encoder and the decoder of `batch` streams that begin."""
        return torch.zeros(batch, self.encoder.caches.size), torch.zeros(batch, self.decoder.caches.size)


def keep_books(codes: Tensor, count: int) -> Tensor:
    """Codes i64[B, T, Q] of which only the first `count` books were sent."""
    return torch.cat([codes[:, :, :count], torch.full_like(codes[:, :, count:], -1)], 2)


def _noted(x: Tensor, hints: list[Tensor] | None) -> Tensor:
    if hints is not None:
        hints.append(x)
    return x
