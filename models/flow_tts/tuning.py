"""What recipes say of the tuning clips while they run."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def averaged(model: nn.Module, report: Callable[[], str]) -> Callable[[dict[str, Tensor]], str]:
    """Report what the model does with averaged weights, and put its own back."""

    @torch.no_grad()
    def with_weights(weights: dict[str, Tensor]) -> str:
        own = {name: value.clone() for name, value in model.named_parameters()}
        nn.Module.load_state_dict(model, weights, strict=False)
        model.eval()
        said = report()
        model.train()
        nn.Module.load_state_dict(model, own, strict=False)
        return said

    return with_weights


def line(parts: Mapping[str, float | Tensor]) -> str:
    """Named figures as one line."""
    return "tune: " + " ".join(f"{name} {float(value):.4f}" for name, value in parts.items())
