"""The transform between samples and rows of coefficients, by matrices: MDCT or STFT of half-overlapping sine windows.

Both are orthonormal up to the STFT's redundancy of two, and give back what they were given, one hop late.
"""

import math

import torch
from torch import Tensor, nn

from models.codec.config import RATE

# Below this modulus a coefficient is compressed linearly.
_FLOOR = 1e-3


class Transform(nn.Module):
    """Rows of coefficients, compressed to the square root of their modulus, of samples, and the way back."""

    def __init__(self, hop: int, kind: str) -> None:
        super().__init__()
        self.hop, self.complex = hop, kind == "stft"
        analysis, synthesis = _stft(hop) if self.complex else _mdct(hop)
        self.register_buffer("analysis", analysis.float(), persistent=False)
        self.register_buffer("synthesis", synthesis.float(), persistent=False)
        hz = (torch.arange(hop) + 0.5) * (RATE / 2 / hop) if kind == "mdct" else _bin_hz(hop)
        self.register_buffer("hz", hz, persistent=False)

    def rows(self, samples: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """Map f32[B, T * hop] and the hop before to compressed rows f32[B, T, coefficients] and the last hop."""
        with torch.autocast(samples.device.type, enabled=False):
            hops = torch.cat([carry, samples], 1).unflatten(1, (-1, self.hop))
            spectrum = torch.cat([hops[:, :-1], hops[:, 1:]], 2) @ self.analysis
            return spectrum / self._root(spectrum), hops[:, -1]

    def samples(self, rows: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Map compressed rows and the overlap f32[B, hop] of the rows before to f32[B, T * hop] and the next one."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            blocks = (rows * self._modulus(rows)) @ self.synthesis
            first, second = blocks.split(self.hop, 2)
            overlap = torch.cat([tail.unsqueeze(1), second], 1)
            return (first + overlap[:, :-1]).flatten(1), overlap[:, -1]

    def _root(self, spectrum: Tensor) -> Tensor:
        return (self._modulus(spectrum) + _FLOOR).sqrt()

    def _modulus(self, rows: Tensor) -> Tensor:
        if not self.complex:
            return (rows.square() + _FLOOR**2).sqrt()
        modulus = (rows.unflatten(2, (2, -1)).square().sum(2) + _FLOOR**2).sqrt()
        return torch.cat([modulus, modulus], 2)


def _mdct(hop: int) -> tuple[Tensor, Tensor]:
    n = torch.arange(2 * hop, dtype=torch.float64)[:, None]
    k = torch.arange(hop, dtype=torch.float64)[None]
    basis = math.sqrt(2 / hop) * _window(n, hop) * torch.cos(math.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5))
    return basis, basis.T.contiguous()


def _stft(hop: int) -> tuple[Tensor, Tensor]:
    n = torch.arange(2 * hop, dtype=torch.float64)[:, None]
    k = torch.arange(hop + 1, dtype=torch.float64)[None]
    angle = math.pi / hop * n * k
    basis = _window(n, hop) * torch.cat([angle.cos(), -angle.sin()], 1) / math.sqrt(hop)
    # Of a real signal, all bins but the first and the last stand for two.
    share = torch.ones(hop + 1, dtype=torch.float64)
    share[0] = share[-1] = 0.5
    return basis, (basis * torch.cat([share, share])).T.contiguous()


def _bin_hz(hop: int) -> Tensor:
    hz = torch.arange(hop + 1) * (RATE / 2 / hop)
    return torch.cat([hz, hz])


def _window(n: Tensor, hop: int) -> Tensor:
    return torch.sin(math.pi / (2 * hop) * (n + 0.5))
