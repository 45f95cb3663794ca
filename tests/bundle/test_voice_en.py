"""The shipped voice in the server's runner: the same speech in any chunks and any company, and a long stream."""

from __future__ import annotations

import resource
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import streamer
from streamer.bundle.loader import Bundle, load_bundle
from streamer.engine.check import check_bundle
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.tasks.text.lexicon import read_lexicon
from streamer.tasks.text.normalise import read_aloud
from streamer.tasks.text.pronounce import Pronouncer
from streamer.tasks.text.spoken import Piece
from streamer.tasks.voice_model import VoiceModel
from streamer.tasks.voice_noise import Noise, normals
from streamer.tasks.voice_program import durations
from streamer.work import Array, Lease, Row

FOLDER = Path(streamer.__file__).parent / "bundles" / "voice-en"
SEED = 7
ROWS = 8
TEXT = "The ferry leaves at a quarter past nine, and nobody waits for those who are late."

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the voice is not among the shipped bundles")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(FOLDER)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> VoiceModel:
    found = VoiceModel.of(bundle.manifest, FOLDER)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def runner(bundle: Bundle) -> Runner:
    settings = EngineSettings(max_batch=ROWS)
    return Runner(bundle, open_sessions(bundle, settings), {"stream": ROWS}, settings)


@pytest.fixture(scope="module")
def prior(runner: Runner, model: VoiceModel) -> Array:
    """What the voice means to say of `TEXT`: f32[T, bands]."""
    return expanded(runner, model, TEXT)


def expanded(runner: Runner, model: VoiceModel, text: str) -> Array:
    lexicon = read_lexicon(FOLDER / "lexicon.txt.gz")
    symbols = model.symbols.ids(Pronouncer(lexicon.get).pronounce(Piece(tuple(read_aloud(text))), {}).symbols)
    encoded = outputs(runner, "text_encode", {"symbols": symbols})
    lasts = durations(encoded["log_durations"], 1.0)
    source = np.repeat(np.arange(len(lasts)), lasts)
    within = np.arange(len(source)) - np.repeat(np.cumsum(lasts) - lasts, lasts)
    place = np.stack([(within + 0.5) / lasts[source], np.log(lasts[source])], 1).astype(np.float32)
    return outputs(runner, "expand", {"encoded": encoded["encoded"], "source": source, "place": place})["prior"]


def outputs(runner: Runner, graph: str, inputs: dict[str, Array]) -> dict[str, Array]:
    (result,) = runner.run(graph, [Row((), inputs)])
    assert result.error is None, result.error
    return {name: np.array(value) for name, value in result.outputs.items()}


def sounded(runner: Runner, model: VoiceModel, rows: dict[int, Array], cuts: list[int], seed: int) -> dict[int, tuple]:
    """Mel and samples of the priors in their slots, all cut at `cuts`, in one batch."""
    found: dict[int, list[tuple[Array, Array]]] = {slot: [] for slot in rows}
    for first, last in pairwise([0, *cuts, len(next(iter(rows.values())))]):
        given = {slot: rows[slot][first:last] for slot in rows}
        noise = normals(seed, Noise.FLOW, first, last - first, model.flow_noise) * np.float32(model.temperature)
        mels = step(runner, "flow_step", {slot: {"prior": given[slot], "noise": noise} for slot in rows}, first == 0)
        hiss = normals(seed, Noise.WAVE, first, last - first, model.wave_noise)
        pcm = step(runner, "vocoder_step", {slot: {"mel": mels[slot], "noise": hiss} for slot in rows}, first == 0)
        for slot in rows:
            found[slot].append((mels[slot], pcm[slot]))
    return {slot: tuple(np.concatenate(part) for part in zip(*parts, strict=True)) for slot, parts in found.items()}


def step(runner: Runner, graph: str, inputs: dict[int, dict[str, Array]], start: bool) -> dict[int, Array]:
    entry = runner.bundle.manifest.graph(graph)
    rows = [
        Row((Lease(runner.bundle.key, "stream", slot, 0),), given, frozenset(entry.groups if start else ()))
        for slot, given in inputs.items()
    ]
    results = runner.run(graph, rows)
    assert all(result.error is None for result in results)
    name = entry.outputs[0].name
    return {slot: np.array(result.outputs[name]) for slot, result in zip(inputs, results, strict=True)}


def test_it_checks(bundle: Bundle) -> None:
    """Files, roles, reference runs, and state that is updated in place."""
    report = check_bundle(FOLDER)
    assert report.ok, [check for check in report.checks if not check.ok]
    assert bundle.manifest.task.kind == "synthesize"


def test_any_chunks_are_the_whole(runner: Runner, model: VoiceModel, prior: Array) -> None:
    """With the trained weights: to 1e-5 of the mel and 1e-4 of the samples, pitch exactly."""
    rng = np.random.default_rng(SEED)
    mel, pcm = sounded(runner, model, {0: prior}, [], SEED)[0]
    assert 0.01 < pcm.std() < 0.5
    for count in (3, 9, len(prior) - 1):
        cuts = np.sort(rng.choice(np.arange(1, len(prior)), count, replace=False)).tolist()
        found, samples = sounded(runner, model, {0: prior}, cuts, SEED)[0]
        assert np.abs(found - mel).max() < 1e-5
        np.testing.assert_array_equal(found[:, 80:], mel[:, 80:])
        assert np.abs(samples - pcm).max() < 1e-4


def test_company_changes_nothing(runner: Runner, model: VoiceModel, prior: Array) -> None:
    """A stream among seven louder and stranger ones is itself, in slots that were used before."""
    cuts = [10, 35, 60]
    mel, pcm = sounded(runner, model, {0: prior}, cuts, SEED)[0]
    strange = {slot: prior[::-1] * np.float32(slot) for slot in range(7)}
    for other in strange.values():
        other[:, 80:] = prior[:, 80:]
    found, samples = sounded(runner, model, strange | {7: prior}, cuts, SEED)[7]
    assert np.abs(found - mel).max() < 1e-5
    assert np.abs(samples - pcm).max() < 1e-4


@pytest.mark.soak
def test_ten_minutes_are_the_same_at_the_end_and_take_no_memory(
    runner: Runner, model: VoiceModel, prior: Array
) -> None:
    """The same text over and over: the last time sounds as the second, and nothing has grown."""
    chunk, repeats = 50, 30_000 // len(prior) + 1
    hiss = normals(SEED, Noise.WAVE, 0, len(prior), model.wave_noise)
    noise = normals(SEED, Noise.FLOW, 0, len(prior), model.flow_noise) * np.float32(model.temperature)
    heard: list[Array] = []
    grown = 0
    for turn in range(repeats):
        parts = []
        for first in range(0, len(prior), chunk):
            where = slice(first, first + chunk)
            start = turn == 0 and first == 0
            mel = step(runner, "flow_step", {0: {"prior": prior[where], "noise": noise[where]}}, start)[0]
            parts.append(step(runner, "vocoder_step", {0: {"mel": mel, "noise": hiss[where]}}, start)[0])
        if turn in (1, repeats - 1):
            heard.append(np.concatenate(parts))
        if turn == repeats // 10:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.isfinite(heard[-1]).all()
    # The phase of the pulses is another one each time, the loudness is not.
    levels = [np.sqrt((samples**2).mean(1)) for samples in heard]
    assert np.abs(levels[0] - levels[1]).mean() < 0.1 * levels[0].mean()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown < 4096
