"""Losses over frames that the recipes share."""

import torch
from torch import Tensor
from torch.nn import functional

from models.flow_tts.vocoder import pitch_features


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of f32[...] where bool[...]."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


def melody_losses(melody: Tensor, pitch: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """`octaves` and `voicing` of a melody f32[B, T, 2 * HALVES] under the pitch i64[B, T, HALVES] where bool[B, T]."""
    voiced, octaves = melody.float().chunk(2, 2)
    true_voiced, true_octaves = pitch_features(pitch).chunk(2, 2)
    wrong = functional.binary_cross_entropy_with_logits(voiced, true_voiced, reduction="none")
    return {
        "octaves": masked((octaves - true_octaves).abs(), (pitch > 0) & mask.unsqueeze(2)),
        "voicing": masked(wrong, mask.unsqueeze(2).expand_as(wrong)),
    }


def squared(one: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """Mean square difference of f32[B, T, C] where bool[B, T]."""
    return masked((one.float() - other).square().mean(2), mask)


def phone_loss(logits: Tensor, phones: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of logits f32[B, T, symbols] of the phones i64[B, T] where bool[B, T], and the share told right."""
    wrong = functional.cross_entropy(logits.float().flatten(0, 1), phones.flatten(), reduction="none").view(mask.shape)
    return masked(wrong, mask), masked((logits.argmax(2) == phones).float(), mask)


def floats(parts: dict[str, Tensor]) -> dict[str, float]:
    """Plain numbers."""
    return {name: float(torch.as_tensor(value).detach()) for name, value in parts.items()}
