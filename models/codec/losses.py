"""How far decoded speech is from the original: spectra at several resolutions, mel bands, waveform."""

import math
import random

import torch
from torch import Tensor, nn

from models.codec.config import RATE
from models.common.spectra import powers

# Lengths of the STFT and mel bands at each.
RESOLUTIONS = {256: 32, 512: 48, 1024: 64, 2048: 80}
_FLOOR, _MEL_FLOOR = 1e-9, 1e-4
_EMPHASIS = 0.9
_WAVEFORM_HZ = 1000
# Windows of 25.6 ms; above this ratio to the original, 15 dB, more error is no worse.
_ENVELOPE_WINDOW, _ENVELOPE_FFT, _ENVELOPE_CLIP = 410, 512, 1 + 10 ** (15 / 20)


class SpectralLoss(nn.Module):
    """L1 of the square roots of STFT magnitudes and of log10 mel magnitudes, and L2 of magnitudes by the original's.

    The first two are content with the median; the last wants the loud to be loud. Above -60 dB a mel band counts more
    the louder it is.
    """

    def __init__(self) -> None:
        super().__init__()
        for length, bands in RESOLUTIONS.items():
            window = torch.hann_window(length)
            self.register_buffer(f"window{length}", window / window.square().sum().sqrt(), persistent=False)
            self.register_buffer(f"mel{length}", _mel_bands(length, bands), persistent=False)

    def forward(self, decoded: Tensor, original: Tensor, lengths: tuple[int, ...]) -> dict[str, Tensor]:
        """Sums over the resolutions `lengths` of f32[B, n] against f32[B, n]: parts `root`, `mel`, `loud`."""
        root = mel = loud = torch.zeros((), device=decoded.device)
        for length in lengths:
            one, other = self._spectrum(decoded, length), self._spectrum(original, length)
            root = root + (one.sqrt() - other.sqrt()).abs().mean()
            loud = loud + ((one - other).norm(dim=(1, 2)) / other.norm(dim=(1, 2))).mean()
            bands = getattr(self, f"mel{length}")
            wanted = _log_mel(other, bands)
            mel = mel + ((_log_mel(one, bands) - wanted).abs() * (1 + (wanted + 3).clamp_min(0))).mean()
        return {"root": root, "mel": mel, "loud": loud}

    def _spectrum(self, samples: Tensor, length: int) -> Tensor:
        """Magnitudes f32[B, T, length / 2 + 1]."""
        window = getattr(self, f"window{length}")
        return (powers(samples, window, length // 4) + _FLOOR).sqrt()


class EnvelopeLoss(nn.Module):
    """One minus the short-time correlation of third-octave envelopes, after STOI (Taal et al., 2011).

    Ours is at 16 kHz and drops quiet segments instead of quiet frames.
    """

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(_ENVELOPE_WINDOW)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        centres = 150 * 2 ** (torch.arange(15) / 3)
        hz = (torch.arange(_ENVELOPE_FFT // 2 + 1) * (RATE / _ENVELOPE_FFT))[:, None]
        bands = (hz >= centres * 2 ** (-1 / 6)) & (hz < centres * 2 ** (1 / 6))
        self.register_buffer("bands", bands.float(), persistent=False)

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Return f32[] of f32[B, n] against f32[B, n]."""
        wanted, found = self._segments(original), self._segments(decoded)
        scale = wanted.norm(dim=3, keepdim=True) / (found.norm(dim=3, keepdim=True) + 1e-6)
        found = torch.minimum(found * scale, wanted * _ENVELOPE_CLIP)
        correlation = torch.cosine_similarity(
            wanted - wanted.mean(3, keepdim=True), found - found.mean(3, keepdim=True), 3, eps=1e-6
        ).mean(2)
        power = wanted.square().sum((2, 3))
        heard = (power > power.amax(1, keepdim=True) * 1e-3).float()
        return 1 - (correlation * heard).sum() / heard.sum()

    def _segments(self, samples: Tensor) -> Tensor:
        """Envelopes f32[B, segments, bands, 30 frames]."""
        power = powers(samples, self.window, _ENVELOPE_WINDOW // 2, _ENVELOPE_FFT) @ self.bands
        return (power + 1e-8).sqrt().unfold(1, 30, 4)


def draw_resolutions(rng: random.Random, count: int = 2) -> tuple[int, ...]:
    """Some resolutions for one update: all would cost most of its time."""
    return tuple(rng.sample(list(RESOLUTIONS), count))


def wave_loss(decoded: Tensor, original: Tensor) -> Tensor:
    """L1 of pre-emphasised f32[B, n]."""
    difference = decoded - original
    return (difference[:, 1:] - _EMPHASIS * difference[:, :-1]).abs().mean()


def row_loss(rows: Tensor, original: Tensor, hz: Tensor) -> Tensor:
    """L2 of compressed rows f32[B, T, coefficients] at frequencies f32[coefficients], fading above `_WAVEFORM_HZ`.

    Up there no rate of ours pays for the waveform, and to miss it by least is to be silent: loud fricatives would go.
    """
    return ((rows - original).square() / (1 + (hz / _WAVEFORM_HZ) ** 4)).mean()


def _log_mel(spectrum: Tensor, bands: Tensor) -> Tensor:
    return (spectrum @ bands + _MEL_FLOOR).log10()


def _mel_bands(length: int, bands: int) -> Tensor:
    """Triangles f32[length / 2 + 1, bands], equally wide on the mel scale (O'Shaughnessy), of unit sum."""
    hz = torch.arange(length // 2 + 1) * (RATE / length)
    edges = 700 * (torch.linspace(0, math.log1p(RATE / 2 / 700), bands + 2).exp() - 1)
    # No band may fall between two bins.
    width = (edges[1:] - edges[:-1]).clamp_min(RATE / length)
    rise = (hz[:, None] - edges[1:-1]) / width[:-1] + 1
    fall = (edges[1:-1] - hz[:, None]) / width[1:] + 1
    triangles = torch.minimum(rise, fall).clamp_min(0)
    return triangles / triangles.sum(0)
