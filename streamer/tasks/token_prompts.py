"""The voices of a bundle that speaks as prompts do: what was said in each, as text, speech tokens and sound."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.token_text import Ids
from streamer.work import Array

# What bytes of any kind make of reading them.
_UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _nothing() -> Array:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One voice: ids of text, speech tokens, their mel float32 `[frames, bands]`, and the speaker's embedding float32
    `[n]`. Nothing of it for models that have a voice of their own.
    """

    text: Ids = ()
    tokens: Ids = ()
    mel: Array = field(default_factory=_nothing)
    speaker: Array = field(default_factory=_nothing)


NO_PROMPT = Prompt()


@dataclass(frozen=True, slots=True)
class PromptSizes:
    """What the prompts of a bundle must be like: ids below `texts`, tokens below `tokens`, and so on."""

    texts: int
    tokens: int
    token_frames: int
    bands: int
    speaker: int


def read_prompts(path: Path, names: tuple[str, ...], sizes: PromptSizes) -> tuple[Prompt, ...]:
    """Read the asset `prompts`, an npz with the arrays `NAME.text`, `NAME.tokens`, `NAME.mel` and `NAME.speaker`.

    Raises `BundleError`.
    """
    found = read_arrays(path)
    return tuple(_prompt(path.name, found, name, sizes) for name in names)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an npz by their names; raises `BundleError`, also for objects, which are not read."""
    try:
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy"): _read_array(file, name) for name in file.namelist()}
    except _UNREADABLE:
        raise BundleError(f"{path.name}: expected an npz of arrays, got other bytes") from None


def _read_array(file: zipfile.ZipFile, name: str) -> Array:
    with file.open(name) as member:
        array: Array = np.lib.format.read_array(member, allow_pickle=False)
        return array


def _prompt(file: str, found: dict[str, Array], name: str, sizes: PromptSizes) -> Prompt:
    text = _array(file, found, f"{name}.text", np.int64, (-1,))
    tokens = _array(file, found, f"{name}.tokens", np.int64, (-1,))
    mel = _array(file, found, f"{name}.mel", np.float32, (sizes.token_frames * len(tokens), sizes.bands))
    speaker = _array(file, found, f"{name}.speaker", np.float32, (sizes.speaker,))
    for key, array, most in (("text", text, sizes.texts), ("tokens", tokens, sizes.tokens)):
        if len(array) and not (array.min() >= 0 and array.max() < most):
            raise BundleError(
                f"{file}: {name}.{key}: expected ids from 0 to {most - 1}, got {array.min()} to {array.max()}"
            )
    if not (np.isfinite(mel).all() and np.isfinite(speaker).all()):
        raise BundleError(f"{file}: {name}: expected finite numbers, got others")
    return Prompt(tuple(text.tolist()), tuple(tokens.tolist()), mel, speaker)


def _array(file: str, found: dict[str, Array], name: str, dtype: type, shape: tuple[int, ...]) -> Array:
    if name not in found:
        raise BundleError(f"{file}: expected the array {name}, got none")
    array = found[name]
    fits = array.ndim == len(shape) and all(size in (-1, own) for size, own in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits:
        expected = f"{np.dtype(dtype)} {list(shape)}"
        raise BundleError(f"{file}: {name}: expected {expected}, got {array.dtype} {list(array.shape)}")
    return array
