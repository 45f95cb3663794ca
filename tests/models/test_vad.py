"""The detector: labels, mixes, and its parity ladder on toy sizes with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common import noises  # noqa: E402
from models.common.parity import Chunks, EngineRun, first_change, largest_difference, torch_alone  # noqa: E402
from models.vad.config import DELAY_FRAMES, FRAME_SAMPLES, Config  # noqa: E402
from models.vad.evaluate import Working, score  # noqa: E402
from models.vad.export import export_bundle, receptive_field, step_graph  # noqa: E402
from models.vad.labels import fill_runs, label_speech  # noqa: E402
from models.vad.listeners import Bundle  # noqa: E402
from models.vad.mixtures import add_noise, at_level, frames_of  # noqa: E402
from models.vad.model import Detector  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402

SEED = 5
ABOUT = {"name": "toy-vad", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(SEED)
    model = Detector(Config(width=12, narrow=6, kernel=3, dilations=(1, 2, 4))).eval()
    with torch.no_grad():
        # Answers that depend on what is heard, rather than one half everywhere.
        model.leave.weight *= 20
    return model


@pytest.fixture(scope="module")
def bundle(model: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "toy-vad"
    export_bundle(model, folder, ABOUT)
    return folder


def sound(rng: np.random.Generator, samples: int) -> np.ndarray:
    level = np.repeat(rng.uniform(0, 0.5, -(-samples // 1280)), 1280)[:samples]
    return (rng.standard_normal(samples) * level).astype(np.float32)


def streams(model: Detector, count: int, longest: int) -> list[Chunks]:
    rng = np.random.default_rng(SEED)
    chunk = model.config.chunk_samples
    return [[{"pcm": sound(rng, chunk)} for _ in range(rng.integers(2, longest + 1))] for _ in range(count)]


def test_whole_torch_equals_chunked_torch(model: Detector) -> None:
    """The whole signal of training and the chunks of serving give the same answers, which are not all alike."""
    samples = torch.from_numpy(np.stack([sound(np.random.default_rng(seed), 20 * 1280) for seed in (1, 2)]))
    state, parts = model.initial_state(2), []
    with torch.no_grad():
        whole = model(samples)
        for chunk in samples.split(model.config.chunk_samples, 1):
            logits, state = model.step(chunk, state)
            parts.append(logits)
    assert whole.shape == (2, 20 * 1280 // FRAME_SAMPLES)
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-4
    assert torch.sigmoid(whole).std() > 0.02


def test_engine_with_interleaved_streams_equals_each_torch_stream_alone(model: Detector, bundle: Path) -> None:
    """Slots are shuffled and reused, batches random and padded, arenas dirty: the probabilities are the same."""
    chunks = streams(model, 24, 10)
    alone = [torch_alone(step_graph(model), stream) for stream in chunks]
    assert largest_difference(alone, EngineRun(bundle, "step").run(chunks), "speech") < 1e-5


def test_the_exported_bundle_checks(bundle: Path) -> None:
    """Files, roles, reference run and slots are what the server expects."""
    report = check_bundle(bundle)
    assert report.ok, report


def test_answers_are_causal_and_forget(model: Detector) -> None:
    """A change is heard in its own chunk at the earliest, and not any more after the receptive field."""
    (chunks,) = streams(model, 1, 2)
    rng = np.random.default_rng(SEED)
    chunks = [{"pcm": sound(rng, 1280)} for _ in range(30)]
    changed = [dict(chunk) for chunk in chunks]
    changed[7] = {"pcm": sound(rng, 1280)}
    graph = step_graph(model)
    run = lambda stream: torch_alone(graph, stream)  # noqa: E731
    assert first_change(run, chunks, changed, "speech") == 7
    left, right = (run(stream)["speech"] for stream in (chunks, changed))
    reach = 8 + -(-receptive_field(model.config) // 1280)
    assert reach < 25
    np.testing.assert_allclose(left[reach:], right[reach:], atol=1e-6)
    assert np.abs(left[7:reach] - right[7:reach]).max() > 1e-4


def test_probabilities_stand_where_the_audio_is(model: Detector, bundle: Path) -> None:
    """Read back by row, the delay is taken out and every row has an answer, in batches or alone."""
    rng = np.random.default_rng(SEED)
    recordings = [sound(rng, n) for n in (5000, 16_000, 7777)]
    alone, cpu_s = Bundle(bundle)(recordings)
    together, _ = Bundle(bundle, streams=2)(recordings)
    assert cpu_s > 0
    for samples, rows, others in zip(recordings, alone, together, strict=True):
        assert len(rows) == len(samples) // 160
        np.testing.assert_allclose(rows, others, atol=1e-5)
    padded = torch.from_numpy(np.pad(recordings[0], (0, 8960 - 5000)))[None]
    with torch.no_grad():
        whole = torch.sigmoid(model(padded))[0, DELAY_FRAMES:].numpy()
    np.testing.assert_allclose(alone[0], np.repeat(whole, 2)[: len(alone[0])], atol=1e-5)


def test_labels_follow_the_level_of_clean_speech() -> None:
    """Loud stretches are speech, a short gap in them too; silence, a click and faint noise are not."""
    rng = np.random.default_rng(SEED)
    samples = rng.standard_normal(5 * 16_000).astype(np.float32) * 1e-4
    for start, end in ((1.0, 2.0), (2.1, 2.6), (4.0, 4.01)):
        samples[int(start * 16_000) : int(end * 16_000)] *= 1000
    rows = label_speech(samples)
    assert rows[105:255].all()
    assert rows[95:265].sum() == pytest.approx(160, abs=4)
    assert not rows[:95].any()
    assert not rows[270:].any() or rows[270:].sum() <= 3


def test_runs_are_filled_inside_only() -> None:
    """Short inner runs change, runs at the ends and long ones stay."""
    rows = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0, 1], bool)
    assert fill_runs(rows, 3).astype(int).tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 0, 1]


def test_noise_is_added_at_the_ratio_asked_for() -> None:
    """The ratio counts the rows of speech alone; without speech the noise stands alone."""
    rng = np.random.default_rng(SEED)
    speech = np.zeros(32_000, np.float32)
    speech[8000:16_000] = rng.standard_normal(8000)
    rows = np.zeros(200, bool)
    rows[50:100] = True
    noise = rng.standard_normal(32_000).astype(np.float32) * 3
    added = add_noise(speech, rows, noise, 10) - speech
    assert 10 * np.log10((speech[8000:16_000] ** 2).mean() / (added**2).mean()) == pytest.approx(10, abs=0.1)
    assert add_noise(speech * 0, rows & False, noise, 10) is noise
    assert np.sqrt((at_level(noise, -20) ** 2).mean()) == pytest.approx(0.1, rel=1e-3)
    assert frames_of(np.array([0, 0, 0, 1, 1, 1], bool)).tolist() == [False, True, True]


@pytest.mark.parametrize("kind", noises.KINDS)
def test_every_kind_of_noise_is_a_signal(kind) -> None:
    """Each is finite, not silent, and different every time."""
    rng = np.random.default_rng(SEED)
    first, second = kind(rng, 16_000), kind(rng, 16_000)
    assert first.shape == (16_000,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert first.std() > 1e-4
    assert not np.array_equal(first, second)


def test_a_room_adds_a_tail() -> None:
    """The direct sound stays, energy follows it, nothing comes before it."""
    click = np.zeros(16_000, np.float32)
    click[4000] = 1
    wet = noises.reverberate(click, np.random.default_rng(SEED))
    assert np.abs(wet[:4000]).max() < 1e-6
    assert wet[4000] == pytest.approx(1, abs=1e-3)
    assert (wet[4100:] ** 2).sum() > 0.01


def test_scores_count_rows() -> None:
    """Precision, recall and F1 of four rows, read late by one row."""
    truth = np.array([0, 1, 1, 0], bool)
    found = score(truth, Working(0.5, 1).speech(np.array([0.9, 0.1, 0.9, 0.0])))
    assert (found.hits, found.false, found.missed) == (1, 2, 1)
    assert found.f1 == pytest.approx(0.4)
