"""Reads weights from files that nobody vouches for: tensors and plain data, never code."""

import pickle
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

SAFETENSORS = ".safetensors"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_FOREIGN = re.compile(r"GLOBAL (\S+)")


class CheckpointError(ValueError):
    """A file is no checkpoint that is known here, or contradicts itself."""


def load_tensors(path: Path, contents: str = "tensors by name") -> Any:
    """What `torch.save` wrote, if it is tensors and plain data; raises `CheckpointError` and runs no foreign code.

    `contents`: what to save again where a file that is trusted holds more.
    """
    require_readable(path)
    try:
        with warnings.catch_warnings():
            # Of storages of old files.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the bytes of a stranger make an unpickler raise has no common base
        raise CheckpointError(_refusal(path, error, contents)) from None


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file; raises `CheckpointError`."""
    require_readable(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path.name}: expected safetensors, got a file that is none: {error!s:.120}") from None


def weights_by_name(path: Path, value: Any) -> dict[str, Any]:
    """What a file of `torch.save` holds, if its keys are names; raises `CheckpointError`."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise CheckpointError(f"{path.name}: expected weights by name, got {type(value).__name__}")
    return dict(value)


def require_readable(path: Path) -> None:
    """Raise `CheckpointError` if `path` cannot be opened."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None


def tensor_problems(name: str, value: Any, shape: torch.Size, largest: float) -> Iterator[str]:
    """What is wrong with one weight: its type, its shape, or values that are not finite or beyond `largest`."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.dtype not in _FLOATS:
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        yield f"{name}: expected a dense tensor of 16, 32 or 64 bit floats, got {kind}"
    elif value.shape != shape:
        yield f"{name}: expected {list(shape)}, got {list(value.shape)}"
    elif not value.abs().max() <= largest:
        yield f"{name}: expected finite values up to {largest:g}, got {value.abs().max():g}"


def parameter_problems(
    found: Mapping[str, Any], expected: Mapping[str, torch.Size], largest: float, known: Collection[str] = ()
) -> list[str]:
    """What is missing, what is neither expected nor `known`, and what is wrong with the others."""
    problems = [f"missing: {name}" for name in expected if name not in found]
    problems += [f"not known: {name!s:.120}" for name in found if name not in expected and name not in known]
    for name, shape in expected.items():
        if name in found:
            problems += tensor_problems(name, found[name], shape, largest)
    return problems


def listed(fact: str, problems: list[str]) -> str:
    """One message of several lines: the fact, and a line for each problem."""
    return "\n  ".join([f"{fact}:", *problems])


def _refusal(path: Path, error: Exception, contents: str) -> str:
    foreign = _FOREIGN.search(str(error))
    if foreign:
        return (
            f"{path.name}: expected tensors and plain data, got {foreign[1]}, which only running its code could make\n"
            f"  where you trust the file, save it again as {contents}"
        )
    # Not torch's own words, which go on to say how to run whatever the file holds.
    is_pickle = isinstance(error, pickle.UnpicklingError)
    reason = "a pickle of other things" if is_pickle else (str(error).split(". ")[0] or type(error).__name__)
    return f"{path.name}: expected a checkpoint of torch, got a file that is none or damaged: {reason:.120}"
