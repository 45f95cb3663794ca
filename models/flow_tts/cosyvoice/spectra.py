"""The short transform of HiFT, 16 samples each 4, by matrices: real parts of all bins, then imaginary ones."""

import math

import torch
from torch import Tensor


def window(n_fft: int) -> Tensor:
    """A periodic Hann window f32[n_fft]."""
    return (0.5 - 0.5 * torch.cos(torch.arange(n_fft, dtype=torch.float64) * (2 * math.pi / n_fft))).float()


def columns(samples: Tensor, n_fft: int, hop: int) -> Tensor:
    """Spectra f32[B, (N - n_fft) / hop + 1, n_fft + 2] of samples f32[B, N], N a multiple of `hop`, not padded."""
    blocks = samples.unflatten(1, (-1, hop))
    taps = n_fft // hop
    count = blocks.shape[1] - taps + 1
    frames = torch.cat([blocks[:, i : i + count] for i in range(taps)], 2)
    return frames @ _analysis(n_fft)


def pieces(log_magnitude: Tensor, angle: Tensor, n_fft: int) -> Tensor:
    """Windowed samples f32[B, t, n_fft] of each column; both inputs f32[B, t, n_fft / 2 + 1]."""
    magnitude = log_magnitude.exp().clamp(max=100.0)
    return torch.cat([magnitude * angle.cos(), magnitude * angle.sin()], 2) @ _synthesis(n_fft)


def overlapped(parts: Tensor, hop: int) -> Tensor:
    """Sums f32[B, t - taps + 1, hop] of `pieces` f32[B, t, taps * hop]: blocks that all columns they need reach."""
    taps = parts.shape[2] // hop
    count = parts.shape[1] - taps + 1
    late = [parts[:, taps - 1 - k : taps - 1 - k + count, k * hop : (k + 1) * hop] for k in range(taps)]
    return torch.stack(late).sum(0)


def _angles(n_fft: int) -> Tensor:
    time, bins = torch.arange(n_fft, dtype=torch.float64), torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    return time[:, None] * bins * (2 * math.pi / n_fft)


def _analysis(n_fft: int) -> Tensor:
    angle = _angles(n_fft)
    return (torch.cat([angle.cos(), -angle.sin()], 1) * window(n_fft).double()[:, None]).float()


def _synthesis(n_fft: int) -> Tensor:
    angle, twice = _angles(n_fft), torch.full((n_fft // 2 + 1,), 2.0, dtype=torch.float64)
    twice[0] = twice[-1] = 1.0
    real, imaginary = angle.cos() * twice / n_fft, -angle.sin() * twice / n_fft
    return (torch.cat([real, imaginary], 1).T * window(n_fft).double()).float()
