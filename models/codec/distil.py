"""Hints of a wide, non-causal teacher: what StreamCodec2 distils at the outputs of blocks and changes of rate.

The papers give the idea and the places, not the weights; those are our choice.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.codec.data import Batch
from models.codec.model import Codec
from models.common.parallel import Together


class Imitation:
    """Distance of a student's features to a teacher's, through linear maps that are fitted on the way.

    The maps are no part of the student: each update moves them towards the teacher first, then lets the student feel
    what is still wrong.
    """

    def __init__(self, teacher: Codec, student: Codec, rate: float = 1e-3) -> None:
        self._teacher = teacher.eval().requires_grad_(False)
        with torch.no_grad():
            silence = Batch(torch.zeros(1, 2 * student.config.frame_samples), torch.zeros(1, 2, dtype=torch.long), None)
            pairs = zip(_features(student, silence), _features(teacher, silence), strict=True)
        self.maps = nn.ModuleList(nn.Linear(one.shape[2], other.shape[2]) for one, other in pairs)
        self._optimiser = torch.optim.AdamW(self.maps.parameters(), rate)
        # The maps begin alike in all processes and stay so.
        self._together = Together()

    def __call__(self, batch: Batch, features: list[Tensor]) -> Tensor:
        """Mean relative squared distance f32[] of the student's `features` on `batch` to the teacher's."""
        with torch.no_grad():
            wanted = _features(self._teacher, batch)
        self.maps.requires_grad_(True)
        self._distance([feature.detach() for feature in features], wanted).backward()
        self._together.mean_gradients(self.maps.parameters())
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.maps.requires_grad_(False)
        return self._distance(features, wanted)

    def to(self, device: str) -> "Imitation":
        """Move teacher and maps."""
        self._teacher.to(device)
        self.maps.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: the maps and their optimiser."""
        return {"maps": self.maps.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.maps.load_state_dict(state["maps"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _distance(self, features: list[Tensor], wanted: list[Tensor]) -> Tensor:
        distances = [
            (fit(one).float() - other.float()).square().mean() / (other.float().square().mean() + 1e-6)
            for fit, one, other in zip(self.maps, features, wanted, strict=True)
        ]
        return torch.stack(distances).mean()


def _features(model: Codec, batch: Batch) -> list[Tensor]:
    """What `model` has at the outputs of blocks and of changes of rate, encoder then decoder."""
    hints: list[Tensor] = []
    latents = model.encoder(batch.samples, hints)
    model.decoder(model.quantiser(latents, batch.count).latent, batch.kind, hints)
    return hints
