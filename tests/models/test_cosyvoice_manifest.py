"""Manifests of imported voices of tokens: what the server reads of them, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from streamer.bundle.manifest import read_manifest  # noqa: E402
from streamer.errors import BundleError, InvalidRequest  # noqa: E402
from streamer.tasks.options import TaskOptions  # noqa: E402
from streamer.tasks.registry import task_maker  # noqa: E402
from streamer.tasks.synthesis_options import SynthesisOptions  # noqa: E402
from streamer.tasks.token_model import TokenModel  # noqa: E402
from tests.models.conftest import Once  # noqa: E402
from tests.models.cosyvoice_bundles import VOICES, write_toy  # noqa: E402
from tests.models.cosyvoice_text import TEXTS  # noqa: E402
from tests.models.cosyvoice_toys import CHUNK, OPTIONS, TOKENS  # noqa: E402
from tests.toys.bundle import edit_manifest  # noqa: E402

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(once: Once, tmp_path: Path) -> Path:
    """A bundle of version 2 that a test may spoil."""
    copy = tmp_path / "toy"
    shutil.copytree(once("cosyvoice-2", partial(write_toy, 2)) / "toy", copy)
    return copy


def test_reads_the_manifest(folder: Path) -> None:
    """Sizes are those of the tensors, constants those of the parameters, voices those of the prompts."""
    model = TokenModel.of(read_manifest(folder), folder)
    assert model is not None
    assert (model.sample_rate, model.voices) == (24_000, (*VOICES,))
    assert [len(prompt.tokens) for prompt in model.prompts] == [*VOICES.values()]
    assert (model.lm.speech, model.lm.tokens, model.lm.ends) == (TEXTS, TOKENS, TOKENS + 3)
    assert (model.sound.encoder.chunk, model.chunk_samples) == (CHUNK, 2 * CHUNK * 480)
    # All that the cache holds but start, task and the longest prompt, by 21 for each id.
    assert model.composer.most == (OPTIONS.cells - 2 - 12) // 21


def _parameter(name: str, value: Any) -> Change:
    return lambda manifest: manifest["task"]["parameters"].update({name: value})


def _without(section: str, name: str) -> Change:
    return lambda manifest: manifest["task"][section].pop(name)


BROKEN: dict[str, tuple[Change, str]] = {
    "vocoder": (_parameter("vocoder", "pulses"), "parameter vocoder: expected causal or window, got 'pulses'"),
    "source": (
        _parameter("source_noise_kind", "pink"),
        "parameter source_noise_kind: expected normal or uniform, got 'pink'",
    ),
    "steps": (_without("parameters", "steps"), "program token_voice needs the parameter steps"),
    "speaker": (_without("roles", "speaker"), "program token_voice needs the role speaker"),
    "rank": (
        lambda manifest: manifest["task"]["roles"].update(source_noise="source_step.mel_window"),
        "role source_noise: expected TYPE_FP32 of three dimensions, got TYPE_FP32 [-1, 80]",
    ),
    "no voices": (_without("parameters", "voices"), "parameter voices: expected text, got None"),
    "no prompts": (_without("assets", "prompts"), "program token_voice needs the asset prompts"),
    "no vocabulary": (_without("assets", "vocab_json"), "program token_voice needs the asset vocab_json"),
    "ids": (_parameter("speech_id", 100), f"expected ids of text below 100, got {TEXTS - 1}"),
    "pages": (_parameter("pages", 3), "asset prompts: expected at most 1 chunks of a prompt, got 2"),
    "cells": (
        lambda manifest: manifest["task"]["parameters"].update(lm_page=50, lm_pages=1),
        "parameter lm_pages: expected room for two symbols and 20 tokens of each after the longest prompt, got 50",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_what_does_not_fit(folder: Path, name: str) -> None:
    """Each refusal names the bundle, what was expected and what is there."""
    change, refusal = BROKEN[name]
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as error:
        task_maker(read_manifest(folder), folder)
    assert str(error.value) == f"bundle toy-cosyvoice: {refusal}"


NOISES: dict[str, tuple[Callable[[Path], object], str]] = {
    "bytes": (lambda path: path.write_bytes(b"noise"), "expected an array, got other bytes"),
    "shape": (
        lambda path: np.save(path, np.zeros((80, 9), np.float32)),
        "expected float32 [n, 80], got float32 [80, 9]",
    ),
    "type": (lambda path: np.save(path, np.zeros((9, 80))), "expected float32 [n, 80], got float64 [9, 80]"),
    "none": (
        lambda path: np.save(path, np.zeros((0, 80), np.float32)),
        "expected float32 [n, 80], got float32 [0, 80]",
    ),
    "finite": (lambda path: np.save(path, np.full((9, 80), np.inf, np.float32)), "expected finite numbers, got others"),
}


@pytest.mark.parametrize("name", NOISES)
def test_refuses_noise_that_does_not_fit(folder: Path, name: str) -> None:
    """The flow begins with it, so it is looked at."""
    spoil, refusal = NOISES[name]
    spoil(folder / "flow_noise.npy")
    with pytest.raises(BundleError) as error:
        task_maker(read_manifest(folder), folder)
    assert str(error.value) == f"bundle toy-cosyvoice: asset flow_noise: {refusal}"


def test_refuses_phonemes(folder: Path) -> None:
    """It reads pieces of words."""
    make = task_maker(read_manifest(folder), folder)
    with pytest.raises(
        InvalidRequest, match=r"^synthesis phonemes: model toy-cosyvoice reads no phonemes, got 'espeak'$"
    ):
        make(TaskOptions(synthesis=SynthesisOptions(phonemes="espeak")))
