"""The names and shapes of a checkpoint's tensors, and how they become parameters of ours.

Parameters are named as in the checkpoints, but for filters with a norm of their own: a file holds their direction and
norm under one of two pairs of names, or the filter itself.
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.common.safe_files import CheckpointError, listed, parameter_problems
from models.flow_tts.cosyvoice.hift import NormedConv, Upsample
from models.flow_tts.cosyvoice.source import DoubleConv

PARAMETRIZED = ".parametrizations.weight.original0", ".parametrizations.weight.original1"
GAIN_AND_DIRECTION = ".weight_g", ".weight_v"
_LARGEST = torch.finfo(torch.float32).max
# What training runs note beside the weights.
_NOTES = ("epoch", "step")


def normed(module: nn.Module) -> list[str]:
    """Layers of `module` whose filters the released checkpoints hold as directions and norms."""
    kinds = (NormedConv, DoubleConv, Upsample)
    return [name for name, layer in module.named_modules() if isinstance(layer, kinds)]


def released_shapes(module: nn.Module, found: Collection[str] = ()) -> dict[str, torch.Size]:
    """Names and shapes of all tensors of the checkpoint of `module`, in the form that the names `found` have."""
    layers = set(normed(module))
    shapes = {}
    for name, value in module.state_dict().items():
        layer = name.removesuffix(".weight")
        pair = None if layer not in layers or layer == name else _pair(layer, found)
        if pair is None:
            shapes[name] = value.shape
        else:
            shapes[layer + pair[0]] = torch.Size([value.shape[0], *[1] * (value.dim() - 1)])
            shapes[layer + pair[1]] = value.shape
    return shapes


def load(where: str, module: nn.Module, found: Mapping[str, Any], optional: Collection[str] = ()) -> None:
    """Give `module` the tensors of a file, in float32.

    Tensors that are `optional` and that it lacks, and those of which `module` has none, are left as they are. Raises
    `CheckpointError` that lists all that is missing, not known or of another shape.
    """
    own = module.state_dict()
    expected = released_shapes(module, found.keys())
    expected = {name: shape for name, shape in expected.items() if name in found or name not in optional}
    problems = parameter_problems(found, expected, _LARGEST, known=[*optional, *_NOTES])
    if problems:
        raise CheckpointError(listed(f"{where}: {len(problems)} of its tensors do not fit the model", problems))
    layers = set(normed(module))
    weights = {}
    for name, value in own.items():
        pair = _pair(name.removesuffix(".weight"), found.keys()) if name.removesuffix(".weight") in layers else None
        if pair is not None:
            layer = name.removesuffix(".weight")
            weights[name] = folded(found[layer + pair[0]].float(), found[layer + pair[1]].float())
        else:
            weights[name] = found[name].float() if name in expected else value
    module.load_state_dict(weights)


def folded(norm: Tensor, direction: Tensor) -> Tensor:
    """The filter f32[n, ...] of norms f32[n, 1, ...] and directions: norms go over all axes but the first.

    That is the axis of the inputs where a convolution is transposed.
    """
    lengths = direction.flatten(1).norm(dim=1).view(norm.shape)
    # A direction of nothing stays nothing.
    return direction * (norm / torch.where(lengths == 0, 1.0, lengths))


def unfolded(module: nn.Module, pair: tuple[str, str] = PARAMETRIZED) -> dict[str, Tensor]:
    """The tensors of `module` as a checkpoint holds them, norms apart from directions."""
    layers, weights = set(normed(module)), {}
    for name, value in module.state_dict().items():
        layer = name.removesuffix(".weight")
        if layer in layers and layer != name:
            norm = value.flatten(1).norm(dim=1).view(-1, *[1] * (value.dim() - 1))
            weights[layer + pair[0]], weights[layer + pair[1]] = norm, value / norm
        else:
            weights[name] = value.clone()
    return weights


def _pair(layer: str, found: Collection[str]) -> tuple[str, str] | None:
    """Under which pair of names a file holds a filter; that of the released files if it has none, None if it is whole.

    One name of a pair is enough to tell, so that the other is missed.
    """
    for pair in (PARAMETRIZED, GAIN_AND_DIRECTION):
        if any(layer + name in found for name in pair):
            return pair
    return None if f"{layer}.weight" in found else PARAMETRIZED
