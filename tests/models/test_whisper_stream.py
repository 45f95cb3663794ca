"""The graphs of a streaming Whisper in the server's runner against whole passes in torch, on toy sizes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.careless_whisper.caches import Sizes  # noqa: E402
from models.careless_whisper.config import Chunking  # noqa: E402
from models.careless_whisper.export import listen_graph  # noqa: E402
from models.careless_whisper.features import WhisperMel, running  # noqa: E402
from models.careless_whisper.model import Whisper, block_mask, sized_mask  # noqa: E402
from models.common.bundle_writer import write_graph  # noqa: E402
from tests.models.conftest import WINDOW_FRAMES as FRAMES  # noqa: E402
from tests.models.whisper_rig import (  # noqa: E402
    EncodeCall,
    Rig,
    assert_close,
    sound,
    whole_caches,
    whole_mel,
)
from tests.models.whisper_toys import CHUNKING  # noqa: E402

CHUNKINGS = [Chunking(2, 14), Chunking(5, 5), Chunking(10, 2), Chunking(15, 1), Chunking(50, 0)]


@pytest.fixture(scope="module")
def model(whisper: Whisper) -> Whisper:
    return whisper


@pytest.fixture(scope="module")
def bundle(model: Whisper, whisper_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose graph `listen` takes chunks of any length, so that one serves all chunkings."""
    folder = tmp_path_factory.mktemp("bundles") / "any-chunks"
    shutil.copytree(whisper_bundle, folder)
    graph = listen_graph(Sizes(model.dims, CHUNKING.first))
    entry = write_graph(folder, "listen", graph, [torch.randn(2, 5000)], {}, free={"pcm": ["samples"]})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["graphs"][0] |= {**entry, "audio": None}
    manifest["references"] = []
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def rig(bundle: Path) -> Rig:
    return Rig(bundle)


def blocks(chunking: Chunking, frames: int = FRAMES) -> list[list[int]]:
    """The calls of `listen` before each call of `encode`, in frames, of at most `frames`."""
    later = (frames - chunking.first) // chunking.gran
    return [[chunking.gran] * (chunking.extra + 1), *[[chunking.gran]] * later]


def ladder(frames: int) -> int:
    return next(size for size in (64, 128, 256) if size >= frames)


def stream(rig: Rig, slot: int, samples: np.ndarray, calls: Sequence[Sequence[int]]) -> int:
    """Hear and encode one window; returns its frames."""
    reached = 0
    for listens in calls:
        before = reached
        reached = rig.listen(slot, samples, listens, before)
        start = ("encoder",) if before == 0 else ()
        call = EncodeCall(slot, reached - before, fresh=before == 0, window=ladder(before), start=start)
        assert rig.encode([call]) == [reached]
    return reached


def expected(model: Whisper, samples: np.ndarray, chunking: Chunking, frames: int) -> dict[str, np.ndarray]:
    mel = whole_mel(samples, [chunking.gran] * (frames // chunking.gran), model.dims.n_mels)
    return whole_caches(model, mel, block_mask(frames, chunking))[0]


@pytest.mark.parametrize("chunking", CHUNKINGS, ids=str)
def test_a_streamed_encoder_is_a_masked_pass(rig: Rig, model: Whisper, chunking: Chunking) -> None:
    samples = sound(1, FRAMES)
    frames = stream(rig, 2, samples, blocks(chunking))
    assert_close(rig.caches(2, frames), expected(model, samples, chunking, frames))


def test_chunks_may_have_any_sizes(rig: Rig, model: Whisper) -> None:
    """A first block of 30 frames, then of 5 to 50, as models for random chunk sizes are trained."""
    sizes = [30, 5, 50, 10, 15, 5, 35, 20, 25, 5]
    samples = sound(2, sum(sizes))
    frames = stream(rig, 0, samples, [[size] for size in sizes])
    limits = torch.tensor(np.repeat(np.cumsum(sizes), sizes))
    mel = whole_mel(samples, sizes, model.dims.n_mels)
    assert_close(rig.caches(0, frames), whole_caches(model, mel, sized_mask(limits))[0])


@pytest.mark.parametrize("gran", [2, 15, 50])
def test_mel_rows_are_those_of_training(rig: Rig, model: Whisper, gran: int) -> None:
    """What is loud is known chunk by chunk; the begin is mirrored; row 0 and the last of each chunk are whole."""
    frames = 100 // gran * gran
    samples = sound(3, frames)
    rig.listen(1, samples, [gran] * (frames // gran))
    signal = torch.from_numpy(np.concatenate([samples[200:0:-1], samples]))[None]
    whole = running(WhisperMel(model.dims.n_mels).rows(signal, 2 * frames + 1), 2 * gran)[0]
    ring = rig.runner.arenas.front["mel"].read([1])[0]
    np.testing.assert_allclose(ring[: 2 * frames + 1], whole.numpy(), rtol=0, atol=2e-5)


def test_what_comes_later_changes_nothing(rig: Rig) -> None:
    """Noise after sample 320 T + 200 leaves the first T frames as they are, to the bit."""
    samples, other = sound(4, FRAMES), sound(5, FRAMES)
    other[: 90 * 320 + 200] = samples[: 90 * 320 + 200]
    calls = blocks(Chunking(15, 1), 195)
    for slot, heard in ((0, samples), (1, other)):
        stream(rig, slot, heard, calls)
    one, two = rig.caches(0, 195), rig.caches(1, 195)
    for name in one:
        assert np.array_equal(one[name][:, :, :90], two[name][:, :, :90])
        assert not np.array_equal(one[name][:, :, 90:], two[name][:, :, 90:])


def test_streams_of_different_ages_share_calls(rig: Rig, model: Whisper) -> None:
    """Three streams in one padded call, in slots that others have used."""
    chunking = Chunking(10, 2)
    for slot in range(3):
        stream(rig, slot, sound(20 + slot, 120), blocks(chunking, 120))
    voices = {slot: sound(30 + slot, FRAMES) for slot in range(3)}
    ages = {slot: stream(rig, slot, voices[slot], blocks(chunking, 30 + 40 * slot)) for slot in range(3)}
    for _ in range(4):
        for slot in voices:
            rig.listen(slot, voices[slot], [10], ages[slot])
        calls = [EncodeCall(slot, 10, window=256) for slot in voices]
        ages = dict(zip(voices, rig.encode(calls), strict=True))
    assert ages == {0: 70, 1: 110, 2: 150}
    for slot, samples in voices.items():
        assert_close(rig.caches(slot, ages[slot]), expected(model, samples, chunking, ages[slot]))
    for name in ("encoder_keys", "cross_values"):
        assert np.isfinite(rig.runner.arenas.front[name].read([5])).all()


def test_two_windows_do_not_disturb_each_other(rig: Rig, model: Whisper) -> None:
    """A shadow window in the other bank is the encoder on the audio from its origin on, as if nothing were before."""
    chunking, samples, opened = Chunking(15, 1), sound(6, 180), 60
    frames = stream(rig, 3, samples, blocks(chunking, opened + 30))
    shadow = EncodeCall(3, 30, origin=2 * opened, bank=1, fresh=True)
    while True:
        assert rig.encode([shadow]) == [frames - opened]
        if frames == 180:
            break
        frames = rig.listen(3, samples, [15], frames)
        assert rig.encode([EncodeCall(3, 15, window=256)]) == [frames]
        shadow = EncodeCall(3, 15, origin=2 * opened, bank=1, window=128)
    mel = whole_mel(samples, [15] * 12, model.dims.n_mels)
    assert_close(rig.caches(3, 180), whole_caches(model, mel, block_mask(180, chunking))[0])
    second = whole_caches(model, mel[:, 2 * opened :], block_mask(120, chunking))[0]
    assert_close(rig.caches(3, 120, bank=1), second)


def test_the_ring_of_mel_rows_goes_round(rig: Rig, model: Whisper) -> None:
    """A window that opens after more than a ring of rows, across its seam, hears what it should."""
    chunking, frames = Chunking(50, 0), 700
    samples = sound(7, frames)
    calls = [50] * (frames // 50)
    reached = rig.listen(0, samples, calls[:11])
    rig.encode([EncodeCall(0, 50, origin=1000, fresh=True, start=("encoder",))])
    for _ in calls[11:]:
        reached = rig.listen(0, samples, [50], reached)
        rig.encode([EncodeCall(0, 50, origin=1000, window=256)])
    mel = whole_mel(samples, calls, model.dims.n_mels)[:, 1000:]
    assert_close(rig.caches(0, 200), whole_caches(model, mel, block_mask(200, chunking))[0])


def test_rows_that_are_not_there_are_zero(rig: Rig, model: Whisper) -> None:
    """A window may run ahead of what was heard; and rows that fell out of the ring are not those that replaced them."""
    samples = sound(8, 550)
    rig.listen(0, samples, [50] * 11)
    rig.encode([EncodeCall(0, 50, origin=0, fresh=True, start=("encoder",))])
    mel = whole_mel(samples, [50] * 11, model.dims.n_mels)[:, :101].clone()
    mel[:, : 1101 - 1024] = 0
    assert_close(rig.caches(0, 50), whole_caches(model, mel, block_mask(50, Chunking(50)))[0])
    rig.encode([EncodeCall(0, 50, origin=1060, fresh=True)])
    mel = torch.zeros(1, 101, model.dims.n_mels)
    mel[:, :41] = whole_mel(samples, [50] * 11, model.dims.n_mels)[:, 1060:]
    assert_close(rig.caches(0, 50), whole_caches(model, mel, block_mask(50, Chunking(50)))[0])


def test_a_window_stays_in_its_bank(rig: Rig) -> None:
    """Past the end of a bank its last frames are written over; the other bank is as it was."""
    samples = sound(9, 300)
    stream(rig, 0, samples, [[30]])
    rig.encode([EncodeCall(0, 30, bank=1, fresh=True)])
    other = rig.caches(0, 30, bank=1)
    counts = [rig.encode([EncodeCall(0, 30, window=256)])[0] for _ in range(8)]
    assert counts == [60, 90, 120, 150, 180, 200, 200, 200]
    assert_close(rig.caches(0, 30, bank=1), other, tolerance=0)


def test_no_input_reaches_the_next_stream(rig: Rig, model: Whisper) -> None:
    """Samples that are no numbers are silence: weights of zero would let them through to whoever gets the slot."""
    broken = sound(10, 30)
    broken[1000:1003] = [np.nan, np.inf, -1e30]
    stream(rig, 0, broken, [[30]])
    assert all(np.isfinite(cells).all() for cells in rig.caches(0, 200).values())
