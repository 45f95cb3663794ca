"""Adversarial training: small discriminators over spectra, hinge losses and feature matching."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.parallel import Together
from models.common.spectra import spectra

# Frequencies that make channels.
_PATCH = 8
_FLOOR = 1e-6


class Discriminator(nn.Module):
    """Judges patches of the compressed complex spectrum at one resolution (after MS-STFT, arXiv 2210.13438).

    Some neighbouring frequencies count as channels: on a CPU that is twice as fast as filters of few channels.
    """

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("window", torch.hann_window(length), persistent=False)
        wide = 4 * channels // 3
        shapes = [(2 * _PATCH, channels, (1, 1)), (channels, wide, (1, 2)), (wide, wide, (2, 2))]
        self.convolutions = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(i, o, 3, stride, 1)) for i, o, stride in shapes
        )
        self.judge = nn.utils.parametrizations.weight_norm(nn.Conv2d(wide, 1, 3, padding=1))

    def forward(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores f32[B, t, f] of f32[B, n], and the features that gave them."""
        x, features = self._spectrum(samples), []
        for convolution in self.convolutions:
            x = functional.leaky_relu(convolution(x), 0.1)
            features.append(x)
        return self.judge(x).squeeze(1).float(), features

    def _spectrum(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            scale = self.window.square().sum().sqrt()
            parts = spectra(samples.float(), self.window / scale, self.length // 4)[:, :, :-1]
            parts = parts / (parts.square().sum(3, keepdim=True) + _FLOOR).sqrt().sqrt()
            return parts.unflatten(2, (-1, _PATCH)).flatten(3).permute(0, 3, 1, 2).contiguous()


class Adversary:
    """Discriminators with their own optimiser; each update trains one of them and judges the decoder by it.

    `lengths` are those of the STFTs that are judged, in samples.
    """

    def __init__(
        self,
        channels: int = 48,
        rate: float = 5e-4,
        device: str = "cpu",
        seed: int = 0,
        lengths: Sequence[int] = (256, 512, 1024),
    ) -> None:
        self.discriminators = nn.ModuleList(Discriminator(length, channels) for length in lengths).to(device)
        self._optimiser = torch.optim.AdamW(self.discriminators.parameters(), rate, betas=(0.8, 0.99))
        self._rng = random.Random(seed)
        # All processes draw the same discriminator and keep its weights equal.
        self._together = Together()

    def __call__(self, decoded: Tensor, original: Tensor) -> dict[str, Tensor]:
        """Learn to tell f32[B, n] from f32[B, n], then judge: parts `adversarial` and `features` for the decoder."""
        discriminator = self.discriminators[self._rng.randrange(len(self.discriminators))]
        parts, wanted = self._learn(discriminator, decoded.detach(), original)
        discriminator.requires_grad_(False)
        score, features = discriminator(decoded)
        discriminator.requires_grad_(True)
        distances = [
            (one - other).abs().mean() / (other.abs().mean() + _FLOOR)
            for one, other in zip(features, wanted, strict=True)
        ]
        return parts | {"adversarial": -score.mean(), "features": torch.stack(distances).mean()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: weights and optimiser."""
        return {"discriminators": self.discriminators.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.discriminators.load_state_dict(state["discriminators"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _learn(
        self, discriminator: nn.Module, decoded: Tensor, original: Tensor
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The loss, and the features of the original before the update: another pass would cost more than it tells."""
        scores, features = discriminator(torch.cat([decoded, original]))
        false, true = scores.chunk(2)
        loss = functional.relu(1 + false).mean() + functional.relu(1 - true).mean()
        loss.backward()
        self._together.mean_gradients(discriminator.parameters())
        self._optimiser.step()
        self._optimiser.zero_grad()
        return {"hinge": loss.detach()}, [one.detach().chunk(2)[1] for one in features]
