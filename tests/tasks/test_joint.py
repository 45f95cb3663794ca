"""What a manifest must say for a beam search, and what is said where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.bundle.manifest import read_manifest
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.decoding import Decoding
from streamer.tasks.joint import Joint
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from tests.toys import write_vowels
from tests.toys.bundle import edit_manifest

ASSET = {"sha256": "0" * 64}


def broken(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The toy with a changed manifest."""
    toy = write_vowels(folder)
    edit_manifest(toy, change)
    return toy


def language_model(manifest: dict[str, Any], *roles: str) -> None:
    """Name files of a language model."""
    for role, file in (("words", "words.txt"), ("ngrams", "ngrams.npz")):
        if role in roles:
            manifest["task"]["assets"][role] = file
            manifest["assets"].append({"file": file, **ASSET})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["task"]["roles"].pop("log_probs"), "program beam_search needs the role log_probs"),
        (lambda m: m["task"]["roles"].pop("encoded"), "program beam_search needs the role encoded"),
        (
            lambda m: m["task"]["roles"].update(encoded="joint.encoded"),
            "role encoded: encoded is on the wrong side of graph joint",
        ),
        (
            lambda m: m["task"]["roles"].update(encoded="joint.log_probs"),
            "expected encoded in one graph and the joiner's roles in another",
        ),
        (
            lambda m: m["task"]["roles"].update(log_probs="step.ids"),
            r"role log_probs: expected TYPE_FP32 of two dimensions, got TYPE_INT64 \[4\]",
        ),
        (
            lambda m: m["task"]["parameters"].update(context_size=0),
            "parameter context_size: expected an integer from 1, got 0",
        ),
        (
            lambda m: m["task"]["parameters"].update(lm_scale="much"),
            "parameter lm_scale: expected a number, got 'much'",
        ),
        (
            lambda m: m["task"]["parameters"].update(beam_confidence_slope=1.0),
            "parameter beam_confidence_bias: expected a number, got None",
        ),
        (lambda m: language_model(m, "words"), "expected the assets words and ngrams, got only words"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    """One line with the bundle, the part, what was expected and what is there."""
    manifest = read_manifest(broken(tmp_path, change))
    with pytest.raises(BundleError, match=f"^bundle vowels: {message}$"):
        Joint.of(manifest)


def test_words_and_unigrams_must_be_as_many(tmp_path: Path) -> None:
    """A list of words that belongs to another model would give every word another's score."""
    toy = broken(tmp_path, lambda m: language_model(m, "words", "ngrams"))
    (toy / "words.txt").write_text("<unk>\n<s>\n")
    np.savez(
        toy / "ngrams.npz", words=np.array([-1, 0, 1, 2]), logp=np.zeros(4), backoff=np.zeros(1), fanout=np.array([3])
    )
    with pytest.raises(BundleError, match=r"^bundle vowels: expected a word for every unigram, got 2 words and 3 "):
        program_of(read_manifest(toy), toy)


def test_a_bundle_without_a_joiner_has_no_program(tmp_path: Path) -> None:
    """It serves greedy streams, and says what it lacks to one that asks for a beam."""
    toy = broken(tmp_path, lambda m: m["task"].pop("program"))
    manifest = read_manifest(toy)
    assert program_of(manifest, toy) is None
    make = task_maker(manifest, toy)
    assert make(TaskOptions()).step(np.zeros(320, np.float32)).target == "step"
    with pytest.raises(InvalidRequest, match=r"^model vowels has no beam search, got decoding n_best$"):
        make(TaskOptions(decoding=Decoding(n_best=2)))


def test_the_bonus_follows_the_language_model(tmp_path: Path) -> None:
    """Without language model there is nothing to make up for; a bundle that weighs it zero has its bonus as it is."""
    weights = {"lm_scale": 0.4, "token_bonus": 0.8}
    joint = Joint.of(read_manifest(broken(tmp_path, lambda m: m["task"]["parameters"].update(weights))))
    assert joint is not None
    assert [joint.bonus_at(scale) for scale in (0.0, 0.2, 0.4)] == pytest.approx([0.0, 0.4, 0.8])
    assert dataclasses.replace(joint, lm_scale=0.0).bonus_at(0.3) == 0.8
