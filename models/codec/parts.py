"""How the tensors of a foreign checkpoint become parameters of ours; nothing is loaded that does not fit."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.codec.seanet import Conv, Lstm, Upsample
from models.common.safe_files import CheckpointError, listed, parameter_problems

_LARGEST = torch.finfo(torch.float32).max

# Any of these tells how many filters a SEANet has.
ENTER = tuple(f"encoder.model.0.conv.conv.{name}" for name in ("bias", "weight_v", "weight"))

Shapes = dict[str, torch.Size]


@dataclass(frozen=True)
class Part:
    """One parameter of ours: the tensor of theirs that it is made of, its shape there, and how it is made.

    `is_filter`: the weight of a convolution, which a checkpoint may hold as a direction and a norm.
    """

    ours: str
    theirs: str
    shape: torch.Size
    make: Callable[[Tensor], Tensor]
    is_filter: bool = False


def as_is(ours: str, theirs: str, value: Tensor) -> Part:
    """A parameter that is the same there."""
    return Part(ours, theirs, value.shape, lambda tensor: tensor)


def seanet_parts(module: nn.Module, ours: str, theirs: str) -> Iterator[Part]:
    """Parts of the convolutions and LSTMs in `module`, by its names in our model and in theirs."""
    for name, layer in module.named_modules():
        inner = f".{name}" if name else ""
        if isinstance(layer, Conv):
            yield from _conv_parts(layer, ours + inner, theirs + inner)
        elif isinstance(layer, Lstm):
            for key, value in layer.lstm.named_parameters():
                yield as_is(f"{ours}{inner}.lstm.{key}", f"{theirs}{inner}.lstm.{key}", value)


def _conv_parts(layer: Conv, ours: str, theirs: str) -> Iterator[Part]:
    is_up = isinstance(layer, Upsample)
    theirs += ".convtr.convtr" if is_up else ".conv.conv"
    outputs = layer.linear.out_features
    if is_up:
        shape = layer.inputs, outputs // layer.factor, 2 * layer.factor
        yield Part(f"{ours}.linear.weight", f"{theirs}.weight", torch.Size(shape), transposed_taps, is_filter=True)
    else:
        shape = outputs, layer.inputs, layer.kernel
        yield Part(f"{ours}.linear.weight", f"{theirs}.weight", torch.Size(shape), taps, is_filter=True)
    if layer.linear.bias is not None:
        factor = layer.factor if is_up else 1
        bias = Part(f"{ours}.linear.bias", f"{theirs}.bias", torch.Size([outputs // factor]), _repeated(factor))
        yield bias


def taps(weight: Tensor) -> Tensor:
    """The filter [outputs, inputs, kernel] of a convolution as a matrix [outputs, kernel * inputs]."""
    return weight.permute(0, 2, 1).flatten(1)


def transposed_taps(weight: Tensor) -> Tensor:
    """The filter [inputs, outputs, 2 * stride] of a transposed one as [stride * outputs, 2 * inputs].

    The first half of a filter is heard with its own input, the second with the next.
    """
    return weight.unflatten(2, (2, -1)).flip(2).permute(3, 1, 2, 0).flatten(2).flatten(0, 1)


def expected_shapes(parts: Sequence[Part], found: Mapping[str, Any]) -> Shapes:
    """What a checkpoint must hold: a filter as it is if it is there, else its norm and direction."""
    shapes: Shapes = {}
    for part in parts:
        if part.is_filter and part.theirs not in found:
            shapes[f"{part.theirs}_g"] = torch.Size([part.shape[0], 1, 1])
            shapes[f"{part.theirs}_v"] = part.shape
        else:
            shapes[part.theirs] = part.shape
    return shapes


def require_fit(where: str, found: Mapping[str, Any], expected: Shapes, words: int) -> None:
    """Raise `CheckpointError` with all that is missing, not known or wrong; books hold `words`."""
    problems = parameter_problems(found, expected, _LARGEST)
    if words < 2 or words & (words - 1):
        problems.append(f"books: expected a power of two of words, got {words}")
    require_none(f"{where}: {len(problems)} of its parameters do not fit its sizes", problems)


def require_none(fact: str, problems: Sequence[str]) -> None:
    """Raise `CheckpointError` if there are problems."""
    if problems:
        raise CheckpointError(listed(fact, list(problems)))


def load(model: nn.Module, parts: Sequence[Part], found: Mapping[str, Tensor]) -> None:
    """Make the parameters of `model`; raises `CheckpointError` for a filter whose direction has no length."""
    flat = [
        f"{part.theirs}_v: expected filters that are not zero"
        for part in parts
        if part.theirs not in found and not _norm(found[f"{part.theirs}_v"].float()).all()
    ]
    require_none("filters without a direction", flat)
    made = {part.ours: part.make(_tensor(part, found)).contiguous() for part in parts}
    absent, unknown = model.load_state_dict(made, strict=False)
    assert not unknown
    assert set(absent) <= set(dict(model.named_buffers()))


def size(found: Mapping[str, Any], names: Sequence[str], usual: int, axis: int = 0) -> int:
    """The length of an axis of the first of `names` that is there, or `usual` where that cannot be seen."""
    for name in names:
        value = found.get(name)
        if isinstance(value, Tensor) and value.dim() > axis and value.shape[axis] > 0:
            return value.shape[axis]
    return usual


def count(found: Mapping[str, Any], pattern: str, usual: int) -> int:
    """How many different numbers the names have where `pattern` has its group."""
    numbers = {match[1] for name in found if (match := re.match(pattern, name))}
    return len(numbers) or usual


def _tensor(part: Part, found: Mapping[str, Tensor]) -> Tensor:
    if part.theirs in found:
        return found[part.theirs].float()
    direction = found[f"{part.theirs}_v"].float()
    return found[f"{part.theirs}_g"].float() * direction / _norm(direction)


def _norm(direction: Tensor) -> Tensor:
    return direction.flatten(1).norm(dim=1).view(-1, 1, 1)


def _repeated(factor: int) -> Callable[[Tensor], Tensor]:
    return lambda bias: bias.repeat(factor)
