"""The file of voices that an import is given: what is read, and what is refused before anything is exported."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.safe_files import CheckpointError  # noqa: E402
from models.flow_tts.cosyvoice.checkpoint import Checkpoint  # noqa: E402
from models.flow_tts.cosyvoice.voices import read_voices  # noqa: E402
from streamer.errors import BundleError  # noqa: E402
from tests.models.cosyvoice_folders import prompt, write_prompt  # noqa: E402
from tests.models.cosyvoice_toys import OPTIONS, toy_checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return toy_checkpoint(3, small=True)


def test_voices_are_in_the_order_of_the_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Names may have dots."""
    path = tmp_path / "voices.npz"
    arrays = [(f"{name}.{key}", array) for name in ("eve", "ada.b") for key, array in prompt().items()]
    np.savez(path, **dict(arrays))
    found = read_voices(path, checkpoint, OPTIONS)
    assert [*found] == ["eve", "ada.b"]
    for voice in found.values():
        assert voice.keys() == prompt().keys()
        assert all(np.array_equal(voice[key], array) for key, array in prompt().items())


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"text": np.array([40])}, "ada.text: expected ids from 0 to 39, got 40 to 40"),
        ({"tokens": np.arange(8)}, "ada.mel: expected float32 [16, 80], got float32 [14, 80]"),
        ({"text": np.array([{}])}, "expected an npz of arrays, got other bytes"),
        ({"age": np.array([40])}, "expected arrays NAME.{text,tokens,mel,speaker}, got 'ada.age'"),
    ],
)
def test_voices_that_do_not_fit_are_refused(
    checkpoint: Checkpoint, tmp_path: Path, change: dict[str, np.ndarray], refusal: str
) -> None:
    """By the sizes of the checkpoint; objects are not read."""
    path = write_prompt(tmp_path / "voices.npz", **change)
    with pytest.raises((CheckpointError, BundleError), match=f"^voices.npz: {re.escape(refusal)}$"):
        read_voices(path, checkpoint, OPTIONS)


@pytest.mark.parametrize("name", ["text", "a,b.text", ".text", " ada.text"])
def test_other_names_are_refused(checkpoint: Checkpoint, tmp_path: Path, name: str) -> None:
    """The parameter `voices` lists them with commas."""
    path = tmp_path / "voices.npz"
    np.savez(path, **{name: np.arange(3)})
    refusal = re.escape(f"expected arrays NAME.{{text,tokens,mel,speaker}}, got {name!r}")
    with pytest.raises(CheckpointError, match=f"^voices.npz: {refusal}$"):
        read_voices(path, checkpoint, OPTIONS)


def test_no_voice_and_no_file_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A server speaks as somebody."""
    path = tmp_path / "voices.npz"
    with pytest.raises(CheckpointError, match=r"^cannot read .*voices.npz: No such file or directory$"):
        read_voices(path, checkpoint, OPTIONS)
    np.savez(path)
    with pytest.raises(CheckpointError, match=r"^voices.npz: expected a voice at least, got none$"):
        read_voices(path, checkpoint, OPTIONS)


def test_a_prompt_without_room_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """In pages, of which speech needs two; without caches there are none."""
    tokens = {"tokens": np.zeros(35, np.int64), "mel": np.zeros((70, 80), np.float32)}
    path = write_prompt(tmp_path / "voices.npz", **tokens)
    with pytest.raises(CheckpointError, match=r"^voices.npz: ada: expected at most 6 chunks, got 7$"):
        read_voices(path, checkpoint, OPTIONS)
    assert len(read_voices(path, checkpoint, replace(OPTIONS, cached=False))["ada"]["tokens"]) == 35
    assert len(read_voices(path, checkpoint, replace(OPTIONS, pages=9))["ada"]["tokens"]) == 35
