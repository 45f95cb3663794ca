"""Manifests of voices of tokens: what is read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.bundle.manifest import read_manifest
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.decoding import Decoding
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from streamer.tasks.token_model import TokenModel
from streamer.tasks.token_prompts import NO_PROMPT
from tests.toys.bundle import edit_manifest
from tests.toys.token_voice import AHEAD, CHUNK, MOST_TEXT, PAGE, TOKEN_SAMPLES, TOKENS, write_token_voice
from tests.toys.voice import BANDS, FRAME, RATE, write_voice


def test_reads_the_manifest(tmp_path: Path) -> None:
    """Sizes are those of the tensors, constants those of the parameters; other voices have another program."""
    folder = write_token_voice(tmp_path)
    model = TokenModel.of(read_manifest(folder), folder)
    assert model is not None
    assert (model.sample_rate, model.voices, model.prompts) == (RATE, ("ada",), (NO_PROMPT,))
    assert (model.lm.tokens, model.lm.ends, model.lm.page, model.composer.most) == (TOKENS, TOKENS + 1, PAGE, MOST_TEXT)
    assert (model.sound.encoder.chunk, model.sound.encoder.ahead) == (CHUNK, AHEAD)
    assert (model.sound.encoder.bands, model.sound.frame_samples) == (BANDS, FRAME)
    assert model.chunk_samples == CHUNK * TOKEN_SAMPLES
    other = write_voice(tmp_path / "other")
    assert TokenModel.of(read_manifest(other), other) is None


def _parameter(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["task"]["parameters"].update({name: value})


def _role(role: str, target: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["task"]["roles"].update({role: target})


def _without(section: str, name: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["task"][section].pop(name)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "flow": (_parameter("flow", "halved"), "parameter flow: expected whole, cached or prefix, got 'halved'"),
    "imported": (_parameter("flow", "cached"), "parameter vocoder: expected causal or window, got 'pulses'"),
    "vocoder": (_parameter("vocoder", "causal"), "parameter vocoder: expected pulses, got 'causal'"),
    "voices": (_parameter("voices", "ada,bob"), "parameter voices: expected one name, got 'ada,bob'"),
    "rate": (lambda manifest: manifest.pop("sample_rate"), "expected a sample_rate, got none"),
    "role": (_without("roles", "logits"), "program token_voice needs the role logits"),
    "elsewhere": (_role("cells", "flow_encode_step.pages"), "role cells: expected a tensor of graph lm_step"),
    "logits": (_parameter("speech_tokens", 23), "role logits: expected more than 23 logits, got 23"),
    "fewest": (_parameter("fewest_tokens", 4), "parameter fewest_tokens: expected more than 0 and at most 3, got 4"),
    "cells": (_parameter("lm_pages", 0), "parameter lm_pages: expected an integer from 1, got 0"),
    "room": (
        lambda manifest: manifest["task"]["parameters"].update(lm_page=9, lm_pages=1),
        "parameter lm_pages: expected room for two symbols and 3 tokens of each, got 9",
    ),
    "share": (_parameter("top_p", 0), "parameter top_p: expected more than 0 and at most 1, got 0"),
    "ahead": (_parameter("ahead_tokens", 2), "role tokens_ahead: expected [2], got [3]"),
    "bands": (_role("mu", "vocoder_step.pcm"), "role mu: expected a tensor of graph flow_encode_step"),
    "symbols": (_parameter("speech_id", 20), "expected at most 20 symbols, got "),
    "lexicon": (_without("assets", "lexicon"), "task synthesize needs the asset lexicon"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_what_does_not_fit(tmp_path: Path, name: str) -> None:
    """Each refusal names the bundle, what was expected and what is there."""
    folder = write_token_voice(tmp_path)
    change, refusal = BROKEN[name]
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as error:
        task_maker(read_manifest(folder), folder)
    assert str(error.value).startswith(f"bundle voice: {refusal}")


def test_options_of_other_tasks_are_refused(tmp_path: Path) -> None:
    """It has no search of the kind that a client chooses."""
    folder = write_token_voice(tmp_path)
    manifest = read_manifest(folder)
    assert program_of(manifest, folder) is not None
    with pytest.raises(InvalidRequest, match=r"^model voice speaks and has no search, got options of decoding$"):
        task_maker(manifest, folder)(TaskOptions(decoding=Decoding(beam=2)))
