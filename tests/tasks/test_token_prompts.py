"""Prompts of a bundle: what is read of the asset, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import BundleError
from streamer.tasks.token_prompts import PromptSizes, read_prompts
from streamer.work import Array

SIZES = PromptSizes(texts=9, tokens=5, token_frames=2, bands=3, speaker=4)


def prompt() -> dict[str, Array]:
    arrays = {"text": np.array([8, 0]), "tokens": np.array([4, 0, 1])}
    return {**arrays, "mel": np.ones((6, 3), np.float32), "speaker": np.arange(4, dtype=np.float32)}


def write(folder: Path, *voices: tuple[str, dict[str, Array]]) -> Path:
    path = folder / "prompts.npz"
    np.savez(path, **{f"{name}.{key}": array for name, arrays in voices for key, array in arrays.items()})
    return path


def test_prompts_are_in_the_order_of_the_names(tmp_path: Path) -> None:
    """Whatever else there is, and however the file has them; one may be a speaker alone."""
    nothing = {"text": np.zeros(0, np.int64), "tokens": np.zeros(0, np.int64), "mel": np.zeros((0, 3), np.float32)}
    path = write(tmp_path, ("a.b", prompt()), ("bob", prompt() | nothing), ("cy", prompt()))
    bob, other = read_prompts(path, ("bob", "a.b"), SIZES)
    assert (bob.text, bob.tokens, bob.mel.shape) == ((), (), (0, 3))
    assert (other.text, other.tokens) == ((8, 0), (4, 0, 1))
    np.testing.assert_array_equal(other.mel, prompt()["mel"])
    np.testing.assert_array_equal(other.speaker, prompt()["speaker"])


BROKEN: dict[str, tuple[dict[str, Array], str]] = {
    "text": ({"text": np.array([9])}, "ada.text: expected ids from 0 to 8, got 9 to 9"),
    "tokens": ({"tokens": np.array([0, -1, 5])}, "ada.tokens: expected ids from 0 to 4, got -1 to 5"),
    "type": ({"text": np.array([1], np.int32)}, "ada.text: expected int64 [-1], got int32 [1]"),
    "rank": ({"tokens": np.array([[1]])}, "ada.tokens: expected int64 [-1], got int64 [1, 1]"),
    "length": ({"mel": np.ones((5, 3), np.float32)}, "ada.mel: expected float32 [6, 3], got float32 [5, 3]"),
    "speaker": ({"speaker": np.ones(3, np.float32)}, "ada.speaker: expected float32 [4], got float32 [3]"),
    "finite": ({"speaker": np.full(4, np.nan, np.float32)}, "ada: expected finite numbers, got others"),
    "objects": ({"text": np.array([{}])}, "expected an npz of arrays, got other bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_prompts_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    """What was expected and what is there; objects are not read."""
    change, refusal = BROKEN[name]
    path = write(tmp_path, ("ada", prompt() | change))
    with pytest.raises(BundleError) as error:
        read_prompts(path, ("ada",), SIZES)
    assert str(error.value) == f"prompts.npz: {refusal}"


def test_a_voice_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By the first of its arrays."""
    path = write(tmp_path, ("ada", prompt()))
    with pytest.raises(BundleError, match=r"^prompts.npz: expected the array eve.text, got none$"):
        read_prompts(path, ("eve",), SIZES)


OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "text": lambda _: b"hello",
    "cut": lambda file: file[: len(file) // 2],
    "spoiled": lambda file: file.replace(b"NUMPY", b"NUMPI"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_bytes_are_refused(tmp_path: Path, name: str) -> None:
    """Whatever reading them raises."""
    path = write(tmp_path, ("ada", prompt()))
    path.write_bytes(OTHERS[name](path.read_bytes()))
    with pytest.raises(BundleError, match=r"^prompts.npz: expected an npz of arrays, got other bytes$"):
        read_prompts(path, ("ada",), SIZES)
