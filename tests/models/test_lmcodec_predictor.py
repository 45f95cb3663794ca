"""The predictor of fine codes: what it may touch, and that serving draws from what training has learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.parity import Chunks, EngineRun, first_change, largest_difference, torch_alone  # noqa: E402
from models.lmcodec.predictor import Predictor, predict_graph, sample  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from tests.models.lmcodec_toys import BOOKS, PREDICTOR, SIZE, toy_bundle, toy_codes, toy_predictor  # noqa: E402

GIVEN = PREDICTOR.given


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return toy_predictor()


@pytest.fixture(scope="module")
def bundle(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy, for an export rounds the weights.
    copy = Predictor(PREDICTOR)
    copy.load_state_dict(predictor.state_dict())
    return toy_bundle(tmp_path_factory.mktemp("codes"), predictor=copy)


def frames(count: int, seed: int, uniform: float | None = None) -> Chunks:
    """Frames of any number of received books, and numbers to draw by."""
    rng = np.random.default_rng(seed)
    codes = toy_codes(count, seed=seed)
    received = np.arange(BOOKS) < rng.integers(0, BOOKS + 1, (count, 1))
    drawn = rng.random((count, BOOKS)) if uniform is None else np.full((count, BOOKS), uniform)
    return [
        {"codes": row, "uniform": numbers}
        for row, numbers in zip(np.where(received, codes, -1), drawn.astype(np.float32), strict=True)
    ]


def filled(predictor: Predictor, chunks: Chunks) -> np.ndarray:
    return torch_alone(predict_graph(predictor), chunks)["filled"]


def test_received_codes_stay_and_enough_of_them_are_filled_up(predictor: Predictor) -> None:
    chunks = frames(40, seed=1)
    codes = np.stack([chunk["codes"] for chunk in chunks])
    found = filled(predictor, chunks)
    enough = codes[:, GIVEN - 1] >= 0
    assert np.array_equal(found[codes >= 0], codes[codes >= 0])
    assert (found[enough] >= 0).all()
    assert (found[enough] < SIZE).all()
    assert np.array_equal(found[~enough], codes[~enough])
    assert 0 < enough.mean() < 1


def test_the_likeliest_codes_are_those_that_training_finds_likeliest(predictor: Predictor) -> None:
    """Frame by frame and book by book, serving fills in what the whole-sequence model of training prefers."""
    chunks = [
        {**chunk, "codes": np.where(np.arange(BOOKS) < GIVEN, row, -1)}
        for chunk, row in zip(frames(30, seed=2, uniform=-1), toy_codes(30, seed=2), strict=True)
    ]
    found = filled(predictor, chunks)
    with torch.no_grad():
        likeliest = predictor(torch.from_numpy(found)[None])[0].argmax(-1)
    assert np.array_equal(likeliest.numpy(), found[:, GIVEN:])
    assert len(np.unique(found[:, GIVEN:])) > 5


def test_numbers_drawn_evenly_draw_codes_by_their_probability() -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0])
    uniform = (torch.arange(4000) + 0.5) / 4000
    drawn = sample(logits.expand(4000, -1), uniform, temperature=0.7)
    share = torch.bincount(drawn, minlength=4) / 4000
    assert (share - torch.softmax(logits / 0.7, -1)).abs().max() < 1e-3
    assert (sample(logits.expand(5, -1), torch.full((5,), -1.0), 0.7) == 2).all()


def test_engine_equals_torch_alone(predictor: Predictor, bundle: Path) -> None:
    """Likeliest codes, in random batches and reused slots."""
    streams = [frames(count, seed=count, uniform=-1) for count in range(3, 23)]
    alone = [torch_alone(predict_graph(predictor), stream) for stream in streams]
    assert largest_difference(alone, EngineRun(bundle, "predict").run(streams), "filled") == 0


def test_a_frame_changes_nothing_before_it(predictor: Predictor) -> None:
    graph, chunks = predict_graph(predictor), frames(20, seed=3)
    changed_at = next(t for t, chunk in enumerate(chunks) if t > 5 and chunk["codes"][0] >= 0)
    changed = [
        {**chunk, "codes": np.where(chunk["codes"] >= 0, (chunk["codes"] + 1) % SIZE, -1)} if t == changed_at else chunk
        for t, chunk in enumerate(chunks)
    ]
    assert first_change(lambda stream: torch_alone(graph, stream), chunks, changed, "filled") == changed_at


def test_bundle_passes_its_check(bundle: Path) -> None:
    report = check_bundle(bundle)
    assert report.ok, report
