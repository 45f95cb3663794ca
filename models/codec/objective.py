"""What the codec is trained for: the loss of a batch, and the quantiser's own learning."""

import random
from collections import deque
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from models.codec.config import RATE
from models.codec.data import Batch
from models.codec.distil import Imitation
from models.codec.losses import EnvelopeLoss, SpectralLoss, draw_resolutions, row_loss, wave_loss
from models.codec.model import Codec
from models.common.adversarial import Adversary
from models.common.training import Progress

# Latents of so many updates place the books, and again every so many updates.
LATENTS_KEPT, _SETTLE_EVERY = 50, 250
# How fast the size of latents is brought back to 1, and how long its average remembers.
_HOLD, _MEMORY = 0.1, 0.95

Hints = list[Tensor]


@dataclass(frozen=True)
class Weights:
    """What the parts of the loss count; `hinge`, the adversary's own loss, is only logged."""

    root: float = 15.0
    mel: float = 1.5
    loud: float = 0.5
    envelope: float = 5.0
    wave: float = 2.0
    rows: float = 300.0
    commitment: float = 0.15
    hints: float = 1.0
    adversarial: float = 0.2
    features: float = 1.5
    hinge: float = 0.0
    early_spectra: float = 0.3
    """Share of `root`, `mel` and `loud` before the quantiser comes in: a decoder that is free to choose phases at first
    does not learn the waveform later."""


class Objective:
    """The loss of a batch.

    For `warmup` updates there is no quantiser. With `frozen` the encoder and the books stay as they are. An
    `adversary` judges the decoder, a teacher's `imitation` all features.
    """

    def __init__(
        self,
        model: Codec,
        progress: Progress,
        weights: Weights,
        warmup: int,
        frozen: bool = False,
        adversary: Adversary | None = None,
        imitation: Imitation | None = None,
    ) -> None:
        self.model, self.progress, self.weights = model, progress, weights
        self.warmup, self.frozen = warmup, frozen
        self.adversary, self.imitation = adversary, imitation
        self.device = next(model.parameters()).device
        self.spectral, self.envelope = SpectralLoss().to(self.device), EnvelopeLoss().to(self.device)
        self._rng = random.Random(progress.updates)
        self._latents: deque[Tensor] = deque(maxlen=LATENTS_KEPT)
        self._size = 1.0

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
        """Return the loss, its parts and seconds of audio."""
        batch = Batch(*(None if part is None else part.to(self.device, non_blocking=True) for part in batch))
        hints: Hints | None = [] if self.imitation else None
        latents, commitment = self._latents_of(batch, hints)
        decoded, rows = self.model.decoder(latents, batch.kind, hints)
        parts = self._parts(batch.samples, decoded, rows) | {"commitment": commitment}
        if self.imitation and hints is not None:
            parts["hints"] = self.imitation(batch, hints)
        total = sum((self._weight(name) * value for name, value in parts.items()), torch.zeros(()))
        return total, {name: float(value.detach()) for name, value in parts.items()}, batch.samples.numel() / RATE

    def _weight(self, name: str) -> float:
        early = self.progress.updates < self.warmup and name in ("root", "mel", "loud")
        return getattr(self.weights, name) * (self.weights.early_spectra if early else 1.0)

    def _latents_of(self, batch: Batch, hints: Hints | None) -> tuple[Tensor, Tensor]:
        """What the decoder gets, and the commitment to it."""
        quantiser, quantised = self.model.quantiser, self.progress.updates >= self.warmup
        if self.frozen:
            with torch.no_grad():
                latents = self.model.encoder(batch.samples, hints).float()
            return quantiser(latents, batch.count).latent, torch.zeros((), device=self.device)
        if quantised:
            # Before the encoder runs: its weights must not change between forward and backward.
            self._place_books(self.progress.updates - self.warmup)
            self._hold_size()
        latents = self.model.encoder(batch.samples, hints).float()
        self._latents.append(latents.detach().flatten(0, 1))
        if not quantised:
            return latents, torch.zeros((), device=self.device)
        if latents.requires_grad:
            latents.register_hook(partial(_without_growth, latents.detach()))
        self._size = _MEMORY * self._size + (1 - _MEMORY) * float(latents.detach().square().mean().sqrt())
        found = quantiser(latents, batch.count, learn=True)
        return found.latent, found.commitment

    def _place_books(self, updates: int) -> None:
        """Place them at the quantiser's first update; later bring them back to the latents now and then."""
        quantiser = self.model.quantiser
        if updates == 0 and self._latents:
            latents = torch.cat(list(self._latents))
            size = float(latents.square().mean().sqrt())
            self.model.scale_latents(1 / size)
            quantiser.begin(latents / size)
            self._latents.clear()
        elif updates % _SETTLE_EVERY == 0 and len(self._latents) == LATENTS_KEPT:
            quantiser.settle(torch.cat(list(self._latents)))

    @torch.no_grad()
    def _hold_size(self) -> None:
        """Bring the latents back to size 1, if slowly: what is left of their growth without its gradient."""
        for parameter in self.model.encoder.leave.parameters():
            parameter.mul_(self._size**-_HOLD)

    def _parts(self, samples: Tensor, decoded: Tensor, rows: Tensor) -> dict[str, Tensor]:
        delay = self.model.config.delay_samples
        with torch.autocast(samples.device.type, enabled=False):
            target, decoded = samples[:, :-delay], decoded[:, delay:].float()
            blank = torch.zeros_like(samples[:, :delay])
            transform = self.model.encoder.transform
            original = transform.rows(samples, blank)[0]
            parts = self.spectral(decoded, target, draw_resolutions(self._rng))
            parts["envelope"] = self.envelope(decoded, target)
            parts |= {"wave": wave_loss(decoded, target), "rows": row_loss(rows.float(), original, transform.hz)}
        return parts | self.adversary(decoded, target) if self.adversary else parts


def _without_growth(latents: Tensor, gradient: Tensor) -> Tensor:
    """Take from `gradient` the part that would scale all `latents`.

    Larger latents are quantised better until the books have followed, so that they would grow without end.
    """
    return gradient - latents * ((gradient * latents).sum() / latents.square().sum())
