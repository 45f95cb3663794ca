"""HiFT, the vocoder: a source of harmonics and noise, shaped by upsampling convolutions into a short spectrum.

Version 2 is symmetric and runs over whole signals, or over windows of them; version 3 is causal but for four frames.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Whole
from models.flow_tts.cosyvoice import spectra
from models.flow_tts.cosyvoice.config import MELS, HiftSizes
from models.flow_tts.cosyvoice.convs import Conv
from models.flow_tts.cosyvoice.source import PitchNet, Source

# As in HiFi-GAN, whose generator this is.
_SLOPE, _LAST_SLOPE = 0.1, 0.01
LEAVE = 7
"""Kernel of the last convolution."""
_LOUDEST = 0.99


class NormedConv(Conv):
    """A convolution whose filters the checkpoint holds as directions and norms."""


class Upsample(nn.Module):
    """A transposed convolution, of filters [inputs, outputs, kernel]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, (kernel - stride) // 2
        self.weight = nn.Parameter(torch.randn(inputs, outputs, kernel) * (inputs * kernel / stride) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """f32[B, T, inputs] to f32[B, stride * T, outputs]."""
        y = functional.conv_transpose1d(x.transpose(1, 2), self.weight, self.bias, self.stride, self.padding)
        return y.transpose(1, 2)


class Down(nn.Module):
    """A convolution with a stride from columns of the source's spectrum to frames of one scale."""

    def __init__(self, inputs: int, outputs: int, stride: int, causal: bool) -> None:
        super().__init__()
        kernel = 1 if stride == 1 else 2 * stride
        self.stride = stride
        self.past, self.future = (stride - 1, 0) if causal else (stride // 2, stride // 2)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel) * (inputs * kernel) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, spectrum: Tensor) -> Tensor:
        """All columns f32[B, t, inputs], with nothing beyond them."""
        return self.mix(functional.pad(spectrum, (0, 0, self.past, self.future)))

    def mix(self, padded: Tensor) -> Tensor:
        """f32[B, past + t + future, inputs] to f32[B, t / stride, outputs]."""
        return functional.conv1d(padded.transpose(1, 2), self.weight, self.bias, self.stride).transpose(1, 2)


class Snake(nn.Module):
    """x + sin(a x)^2 / a (arXiv 2006.08195)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """f32[B, T, width] to the same."""
        return x + torch.sin(self.alpha * x).square() / (self.alpha + 1e-9)


class ResBlock(nn.Module):
    """Pairs of a dilated convolution and one that is not, each beside a shortcut."""

    def __init__(self, width: int, kernel: int, sizes: HiftSizes) -> None:
        super().__init__()
        dilated = [_conv(width, width, kernel, sizes.causal, dilation) for dilation in sizes.dilations]
        self.convs1 = nn.ModuleList(dilated)
        self.convs2 = nn.ModuleList(_conv(width, width, kernel, sizes.causal) for _ in dilated)
        self.activations1 = nn.ModuleList(Snake(width) for _ in dilated)
        self.activations2 = nn.ModuleList(Snake(width) for _ in dilated)

    def run(self, x: Tensor, runner: Whole) -> Tensor:
        """f32[B, T, width] to the same."""
        for conv1, conv2, enter, between in zip(
            self.convs1, self.convs2, self.activations1, self.activations2, strict=True
        ):
            inner = runner.step(cast(Conv, conv1), enter(x))
            x = x + runner.step(cast(Conv, conv2), between(inner))
        return x


class Hift(nn.Module):
    """Mel f32[B, T, 80] to samples f32[B, 480 T], under the checkpoint's names."""

    def __init__(self, sizes: HiftSizes) -> None:
        super().__init__()
        self.sizes = sizes
        scales, bins = range(len(sizes.ratios)), sizes.n_fft + 2
        self.f0_predictor = PitchNet(sizes)
        self.m_source = Source(sizes)
        future = sizes.enter - 1 if sizes.causal else sizes.enter // 2
        self.conv_pre = NormedConv(MELS, sizes.channels, sizes.enter, future=future)
        self.ups = nn.ModuleList(_up(sizes, scale) for scale in scales)
        self.source_downs = nn.ModuleList(
            Down(bins, sizes.width(scale), self.stride(scale), sizes.causal) for scale in scales
        )
        self.source_resblocks = nn.ModuleList(
            ResBlock(sizes.width(scale), sizes.source_kernels[scale], sizes) for scale in scales
        )
        self.resblocks = nn.ModuleList(
            ResBlock(sizes.width(scale), kernel, sizes) for scale in scales for kernel in sizes.block_kernels
        )
        self.conv_post = _conv(sizes.width(scales[-1]), bins, LEAVE, sizes.causal)

    def stride(self, scale: int) -> int:
        """Columns of the spectrum in a frame of `scale`."""
        stride = 1
        for ratio in self.sizes.ratios[scale + 1 :]:
            stride *= ratio
        return stride

    def forward(self, mel: Tensor, noise: Tensor) -> Tensor:
        """All samples of a mel that is whole; `noise` f32[B, T, 480, harmonics] as the source wants it."""
        rows = torch.zeros(mel.shape[0], dtype=torch.int64)
        phase = torch.zeros(mel.shape[0], self.sizes.harmonics, dtype=torch.float64)
        source, _ = self.m_source.whole(self.f0_predictor(mel), noise, phase, rows)
        return self.shaped(mel, source)

    def shaped(self, mel: Tensor, source: Tensor) -> Tensor:
        """Samples f32[B, 480 T] of a whole mel and its source f32[B, T, 480]."""
        sizes, half = self.sizes, self.sizes.n_fft // 2
        samples = functional.pad(source.flatten(1).unsqueeze(1), (half, half), "reflect").squeeze(1)
        spectrum = spectra.columns(samples, sizes.n_fft, sizes.hop)
        sources = [down(spectrum) for down in self.source_downs]
        runner = Whole()
        parts = self.columns(runner.step(self.conv_pre, mel), sources, _mirrored, (runner, runner))
        return clamped(self._closed(parts))

    def columns(
        self, x: Tensor, sources: list[Tensor], enter_last: Callable[[Tensor], Tensor], runners: tuple[Whole, Whole]
    ) -> Tensor:
        """Windowed samples f32[B, t, n_fft] of what `conv_pre` made, f32[B, T, channels].

        `sources` by scale; `enter_last` puts a column before those of the last scale, whose blocks the second of
        `runners` runs.
        """
        last = len(self.ups) - 1
        for scale, up in enumerate(self.ups):
            x = functional.leaky_relu(x, _SLOPE)
            x = self._upsampled(up, scale, x, runners[0])
            if scale == last:
                x = enter_last(x)
            runner = runners[int(scale == last)]
            x = x + cast(ResBlock, self.source_resblocks[scale]).run(sources[scale], runner)
            x = self._blocks(scale, x, runner)
        made = runners[1].step(self.conv_post, functional.leaky_relu(x, _LAST_SLOPE))
        bins = self.sizes.n_fft // 2 + 1
        return spectra.pieces(made[..., :bins], torch.sin(made[..., bins:]), self.sizes.n_fft)

    def _upsampled(self, up: nn.Module, scale: int, x: Tensor, runner: Whole) -> Tensor:
        if isinstance(up, Conv):
            return runner.step(up, x.repeat_interleave(self.sizes.ratios[scale], 1))
        return cast(Tensor, up(x))

    def _blocks(self, scale: int, x: Tensor, runner: Whole) -> Tensor:
        count = len(self.sizes.block_kernels)
        blocks = self.resblocks[scale * count : (scale + 1) * count]
        return torch.stack([cast(ResBlock, block).run(x, runner) for block in blocks]).mean(0)

    def _closed(self, parts: Tensor) -> Tensor:
        """All samples of all columns, by the windows that reach them; half a window is cut at each end."""
        sizes = self.sizes
        taps, cut = sizes.n_fft // sizes.hop, sizes.n_fft // 2 // sizes.hop
        square = spectra.window(sizes.n_fft).square().expand(1, parts.shape[1], -1)
        sums, weights = (
            spectra.overlapped(functional.pad(part, (0, 0, taps - 1, taps - 1)), sizes.hop) for part in (parts, square)
        )
        blocks = parts.shape[1] - 1
        return (sums[:, cut : cut + blocks] / weights[:, cut : cut + blocks]).flatten(1)


def clamped(samples: Tensor) -> Tensor:
    """Samples within what the vocoder may say."""
    return samples.clamp(-_LOUDEST, _LOUDEST)


def _mirrored(x: Tensor) -> Tensor:
    """The first frame but one before all others."""
    return torch.cat([x[:, 1:2], x], 1)


def _conv(inputs: int, outputs: int, kernel: int, causal: bool, dilation: int = 1) -> NormedConv:
    future = 0 if causal else (kernel - 1) // 2 * dilation
    return NormedConv(inputs, outputs, kernel, future, dilation)


def _up(sizes: HiftSizes, scale: int) -> nn.Module:
    inputs, outputs = sizes.channels >> scale, sizes.width(scale)
    kernel, ratio = sizes.kernels[scale], sizes.ratios[scale]
    if sizes.causal:
        return NormedConv(inputs, outputs, kernel)
    return Upsample(inputs, outputs, kernel, ratio)
