"""Weights to begin training from: those of a checkpoint, averaged, or those of a bundle, as its graphs hold them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.common.onnx_export import read_weights

_GRAPHS = {"text_encode": "encoder", "expand": "expander", "flow_step": "flow"}


def begin_from(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Take all parameters of `model` from `weights`, which may hold more; raises `ValueError` for those not there."""
    known = dict(model.named_parameters())
    if missing := sorted(set(known) - set(weights)):
        raise ValueError(f"expected weights called {', '.join(missing)}, got none")
    model.load_state_dict({name: weights[name] for name in known}, strict=False)


def acoustic_weights(path: Path) -> dict[str, Tensor]:
    """Parameters of a `Voice` by name, from a checkpoint of acoustic_train or the folder of a bundle."""
    if not path.is_dir():
        return _averaged(path)
    return {
        f"{part}.{name}": tensor
        for graph, part in _GRAPHS.items()
        for name, tensor in read_weights(path / f"{graph}.onnx", f"step.{part}.").items()
    }


def vocoder_weights(path: Path) -> dict[str, Tensor]:
    """Parameters of a `Vocoder` by name, from a checkpoint of vocoder_train or the folder of a bundle."""
    return read_weights(path / "vocoder_step.onnx", "step.vocoder.") if path.is_dir() else _averaged(path)


def _averaged(path: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")["average"]
    return weights
