"""The token path's bundle: its graphs in the server's engine say what the torch models say."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.parity import EngineRun  # noqa: E402
from models.flow_tts.export import LICENCE  # noqa: E402
from models.flow_tts.symbols import SYMBOLS  # noqa: E402
from models.flow_tts.tokens.export import LM, export_bundle, parameters_of  # noqa: E402
from models.flow_tts.tokens.flow import TokenFlow  # noqa: E402
from models.flow_tts.tokens.layouts import Blocks  # noqa: E402
from models.flow_tts.tokens.lm import Past, SpeechLm, next_logits  # noqa: E402
from models.flow_tts.tokens.streaming import Sound  # noqa: E402
from models.flow_tts.vocoder import Vocoder  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from streamer.engine.runner import Runner  # noqa: E402
from streamer.work import Lease, Row  # noqa: E402
from tests.models.token_toys import CHUNK, TOKENS, ids, toy_lm, toy_token_flow  # noqa: E402
from tests.models.voice_toys import toy_vocoder  # noqa: E402

ABOUT = {"name": "toy-tokens", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}
BLOCKS = Blocks(4, 5)
Models = tuple[SpeechLm, TokenFlow, Vocoder]


@pytest.fixture(scope="module")
def models() -> Models:
    return toy_lm(small=True), toy_token_flow(small=True), toy_vocoder()


@pytest.fixture(scope="module")
def bundle(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    lexicon, card = folder / "lexicon.txt.gz", folder / "card.md"
    lexicon.write_bytes(gzip.compress(b"hello\tHH AH0 L OW1\n"))
    card.write_text("A toy.\n", encoding="utf-8")
    (folder / LICENCE).write_text("Free.\n", encoding="utf-8")
    lm, flow, vocoder = models
    export_bundle(lm, BLOCKS, flow, vocoder, folder / "toy", ABOUT, lexicon, card=card)
    return folder / "toy"


class EngineCalls:
    """One stream of a runner, in a slot of its own."""

    def __init__(self, runner: Runner, slot: int) -> None:
        self._runner, self._slot = runner, slot

    def __call__(self, graph: str, row: Mapping[str, Any], start: bool) -> Mapping[str, Any]:
        entry = self._runner.bundle.manifest.graph(graph)
        inputs = {tensor.name: np.asarray(row[tensor.name], tensor.dtype) for tensor in entry.inputs}
        leases = tuple(Lease(self._runner.bundle.key, pool, self._slot, 0) for pool in entry.pools)
        (result,) = self._runner.run(graph, [Row(leases, inputs, frozenset(entry.groups) if start else frozenset())])
        assert result.error is None
        return result.outputs


def test_the_bundle_checks(models: Models, bundle: Path) -> None:
    """Files, signatures, references, resets and in-place state, and what the server's program asks for."""
    checks = check_bundle(bundle).checks
    assert all(check.ok for check in checks), checks
    assert "task" in {check.name for check in checks}
    task = load_bundle(bundle).manifest.task
    assert (task.kind, task.program) == ("synthesize", "token_voice")
    assert dict(task.parameters) == parameters_of(models[0], BLOCKS, models[1], CHUNK)
    assert task.parameters["speech_id"] == len(SYMBOLS)
    assert task.parameters["fill_id"] == len(SYMBOLS) + TOKENS + 2


def test_tokens_become_the_samples_of_the_torch_models(models: Models, bundle: Path) -> None:
    """Two streams take turns in one engine; each sounds as the modules make it."""
    runner = EngineRun(bundle, LM).runner
    _, flow, vocoder = models
    streams = [Sound(flow, vocoder, seed, calls=EngineCalls(runner, seed)) for seed in (0, 1)]
    given = [ids(14, seed=seed)[0].tolist() for seed in (0, 1)]
    heard: list[list[np.ndarray]] = [[], []]
    for at in range(0, 14, 3):
        for stream, tokens, parts in zip(streams, given, heard, strict=True):
            parts.append(stream.push(tokens[at : at + 3]))
    for seed, (stream, tokens, parts) in enumerate(zip(streams, given, heard, strict=True)):
        said = np.concatenate([*parts, stream.finish()])
        alone = Sound(flow, vocoder, seed)
        expected = np.concatenate([alone.push(tokens), alone.finish()])
        np.testing.assert_allclose(said, expected, atol=2e-4)
        assert np.abs(expected).max() > 0.01


def test_text_becomes_the_logits_of_the_torch_model(models: Models, bundle: Path) -> None:
    """Blocks of ids of any size, with the pages of what was given before."""
    lm, calls = models[0], EngineCalls(EngineRun(bundle, LM).runner, 1)
    given = torch.randint(lm.ids.speech + TOKENS, (80,), generator=torch.Generator().manual_seed(3)).tolist()
    page = load_bundle(bundle).manifest.task.parameters["lm_page"]
    past, at = Past(), 0
    for size in (13, 1, 1, 50, 1, 14):
        cells = list(range(-(-at // int(page)))) or [-1]
        row = {"ids": np.array(given[at : at + size]), "cells": np.array(cells)}
        logits = next_logits(lm, given[at : at + size], past).numpy()
        np.testing.assert_allclose(calls(LM, row, at == 0)["logits"], logits, atol=2e-4)
        at += size
