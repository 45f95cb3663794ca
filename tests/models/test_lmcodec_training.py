"""Codes on disk, the stretches that training draws of them, and training itself on toy codes."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.codec.config import Config as CodecConfig  # noqa: E402
from models.codec.config import Side  # noqa: E402
from models.codec.model import Codec  # noqa: E402
from models.common.training import Schedule  # noqa: E402
from models.lmcodec.data import Codes, Crops, encode_clips, read_codes  # noqa: E402
from models.lmcodec.evaluate import guess, network_bits, saved  # noqa: E402
from models.lmcodec.export import load_network, load_predictor  # noqa: E402
from models.lmcodec.floating import float_network  # noqa: E402
from models.lmcodec.tables import Shape, bits, build_tables, network_table  # noqa: E402
from models.lmcodec.train import train_network, train_predictor, write_tables  # noqa: E402
from tests.models.lmcodec_toys import BOOKS, CONFIG, PREDICTOR, SIZE, toy_codes  # noqa: E402


def short(updates: int) -> dict[str, Any]:
    """A schedule of `updates` and the clock that it goes by."""
    return {"schedule": Schedule(updates, 1e-2, warmup_updates=10), "clock": count().__next__}


@pytest.fixture(scope="module")
def codes() -> Codes:
    clips = [toy_codes(120 + 10 * seed, seed=seed) for seed in range(20)]
    splits = ["train"] * 16 + ["tune"] * 2 + ["dev"] * 2
    words = np.random.default_rng(0).standard_normal((BOOKS, SIZE, 8)).astype(np.float16).astype(np.float32)
    return Codes(np.concatenate(clips).astype(np.int16), [len(clip) for clip in clips], splits, words)


def test_codes_come_back_from_disk(codes: Codes, tmp_path: Path) -> None:
    codes.write(tmp_path / "codes.npz")
    again = read_codes(tmp_path / "codes.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["codes.npz"]
    assert again.size == SIZE
    assert np.array_equal(again.words, codes.words)
    for split in ("train", "tune", "dev"):
        assert all(map(np.array_equal, again.of(split), codes.of(split)))
    assert len(again.of("dev")) == 2
    assert np.array_equal(again.of("dev")[0], toy_codes(300, seed=18))


def test_crops_are_stretches_of_clips(codes: Codes) -> None:
    clips = codes.of("train")
    whole = Crops(clips, np.random.default_rng(0), books_vary=False, frames=30).draw(50).numpy()
    assert whole.shape == (50, 30, BOOKS)
    windows = {clip[at : at + 30].tobytes() for clip in clips for at in range(len(clip) - 29)}
    assert all(crop.astype(np.int16).tobytes() in windows for crop in whole)


def test_crops_lack_books_and_frames_as_packets_do(codes: Codes) -> None:
    crops = Crops(codes.of("train"), np.random.default_rng(0), books_vary=True, frames=30).draw(300).numpy()
    sent = crops >= 0
    # A book is never there without the one below it.
    assert (sent[..., 1:] <= sent[..., :-1]).all()
    assert 0.01 < (~sent[..., 0]).mean() < 0.1
    assert 0.5 < sent[:, 0].all(-1).mean() < 0.95


def test_clips_that_are_too_short_are_refused(codes: Codes) -> None:
    with pytest.raises(ValueError, match="expected clips of at least 1000 frames, got none"):
        Crops(codes.of("train"), np.random.default_rng(0), books_vary=False, frames=1000)


def test_clips_encoded_together_have_the_codes_they_have_alone() -> None:
    torch.manual_seed(0)
    side = Side(width=8, inner=8, blocks=1)
    codec = Codec(CodecConfig(encoder=side, decoder=side, latent=8, books=2, levels=())).eval()
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(320 * frames + 100).astype(np.float32) * 0.1 for frames in (5, 9, 7, 3)]
    found = list(encode_clips(codec, clips, together=3))
    assert [len(each) for each in found] == [5, 9, 7, 3]
    with torch.inference_mode():
        alone = [codec.encode(torch.from_numpy(clip[: len(clip) // 320 * 320])[None])[0].numpy() for clip in clips]
    assert np.mean(np.concatenate(found) == np.concatenate(alone)) > 0.99


def test_trained_network_beats_the_tables_it_began_with(codes: Codes, tmp_path: Path) -> None:
    write_tables(codes, tmp_path)
    train_network(codes, tmp_path / "network", config=CONFIG, **short(60))
    network = load_network(tmp_path / "network" / "checkpoint.pt")
    unseen = codes.of("dev")
    begun = build_tables(codes.of("train"), SIZE, Shape(CONFIG.previous, CONFIG.below))
    ours = network_bits(network, unseen, network_table())
    assert ours.mean() < bits(begun, unseen)[: CONFIG.books].mean()
    floats = network_bits(float_network(network), unseen, network_table(), quantised=False)
    assert floats.mean() <= 1.005 * ours.mean()
    report = saved(unseen, dict(np.load(tmp_path / "tables.npz")), network)
    assert "| network | 1 s |" in report
    assert "| float | 1 s |" in report


def test_a_run_that_is_over_is_not_begun_again(codes: Codes, tmp_path: Path) -> None:
    train_network(codes, tmp_path, config=CONFIG, **short(5))
    before = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    first = load_network(tmp_path / "checkpoint.pt").state_dict()
    train_network(codes, tmp_path, config=CONFIG, **short(5))
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns > before
    again = load_network(tmp_path / "checkpoint.pt").state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_trained_predictor_fills_what_is_missing(codes: Codes, tmp_path: Path) -> None:
    train_predictor(codes, tmp_path, config=replace(PREDICTOR, width=32), **short(100))
    predictor = load_predictor(tmp_path / "checkpoint.pt")
    unseen = torch.from_numpy(codes.of("dev")[0].astype(np.int64))[None]
    received = unseen.clone()
    received[..., PREDICTOR.given :] = -1
    filled = guess(predictor, None, received)
    right = (filled == unseen)[..., PREDICTOR.given :].float().mean()
    assert right > 1.5 / SIZE
