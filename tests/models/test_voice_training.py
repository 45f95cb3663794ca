"""From recordings to batches to a training run, on a made-up speaker."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts import acoustic_train, calibrate, vocoder_train, voice  # noqa: E402
from models.flow_tts.acoustic_data import collate, cut, draw_batches, draw_piece, recordings  # noqa: E402
from models.flow_tts.alignments import read_alignments, write_alignments  # noqa: E402
from models.flow_tts.calibrate import read_calibration  # noqa: E402
from models.flow_tts.config import FRAME, HALVES, MELS, RATE, FlowConfig, TextConfig, VocoderConfig  # noqa: E402
from models.flow_tts.mel import LogMel  # noqa: E402
from models.flow_tts.melody import flatness, widen  # noqa: E402
from models.flow_tts.pitch import track  # noqa: E402
from models.flow_tts.pool import Pool, statistics, write_pool  # noqa: E402
from models.flow_tts.roughness import FIRST_BAND  # noqa: E402
from models.flow_tts.symbols import IDS  # noqa: E402
from models.flow_tts.vocoder import load_vocoder  # noqa: E402
from models.flow_tts.vocoder_loss import MelLoss, SpectralLoss  # noqa: E402
from tests.models.voice_recordings import to_symbols, write_pack  # noqa: E402
from tests.models.voice_toys import FLOW, VOCODER, toy_vocoder, toy_voice  # noqa: E402

CLIPS = 40


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    pack = folder / "toy.tar"
    truth = write_pack(pack, CLIPS)
    write_pool(pack, folder)
    write_alignments(folder, to_symbols)
    np.save(folder / "truth.npy", truth, allow_pickle=True)
    return folder


def test_alignment_from_a_flat_start_finds_what_is_said_when(pool: Path) -> None:
    """Boundaries of unseen-before sounds lie where they were made, nearly all within a frame."""
    truth = np.load(pool / "truth.npy", allow_pickle=True).item()
    apart = []
    for split in ("train", "tune", "dev"):
        for one in read_alignments(pool, split):
            assert sum(one.frames) == one.clip.frames
            apart.append(np.abs(np.cumsum(one.frames) - np.cumsum(truth[one.clip.audio])))
    errors = np.concatenate(apart)
    assert np.mean(errors <= 1) > 0.9
    assert errors.mean() < 0.7


def test_pieces_are_cut_as_texts_are(pool: Path) -> None:
    """Symbols, frames and mel of a piece belong together, whatever the cut; context has no frames."""
    found = recordings(pool, "train")
    rng = np.random.default_rng(0)
    seen_context = False
    for _ in range(200):
        piece = draw_piece(found[int(rng.integers(len(found)))], rng)
        assert int(piece.frames.sum()) == len(piece.mel) == len(piece.pitch)
        assert len(piece.symbols[piece.spoken]) == len(piece.frames)
        first = int(piece.symbols[piece.spoken][0])
        assert first in (IDS["^"], IDS["_"])
        seen_context |= len(piece.symbols) > len(piece.frames)
    assert seen_context


def test_a_pause_is_shared_between_clauses(pool: Path) -> None:
    one = recordings(pool, "train")[0]
    comma, last = one.symbols.index(","), len(one.symbols) - 1
    before, after, whole = cut(one, 0, comma, 0), cut(one, comma, last, 0), cut(one, 0, last, 0)
    assert int(before.frames[-1]) + int(after.frames[0]) == int(one.frames[comma])
    assert len(before.mel) + len(after.mel) == len(whole.mel)
    torch.testing.assert_close(torch.cat([before.mel, after.mel]), whole.mel)
    gap = one.symbols.index("_")
    words = cut(one, gap, comma, 3)
    assert words.symbols[0] == IDS["^"]
    assert words.spoken.start == gap


def test_batches_hold_the_pieces(pool: Path) -> None:
    found = recordings(pool, "train")
    pieces = [cut(one, 0, len(one.symbols) - 1, 0) for one in found[:3]]
    batch = collate(pieces)
    for row, piece in enumerate(pieces):
        assert int(batch.frame_mask[row].sum()) == len(piece.mel)
        torch.testing.assert_close(batch.mel[row, : len(piece.mel)], piece.mel)
        assert int(batch.frames[row].sum()) == len(piece.mel)
    assert next(draw_batches(found, 4, 0)).mel.shape[0] == 4


def test_pitch_of_a_gliding_voice_and_of_noise() -> None:
    time = np.arange(RATE) / RATE
    hertz = 150 + 60 * np.sin(2 * np.pi * time)
    phase = np.cumsum(hertz) / RATE
    voice_ = sum(np.cos(2 * np.pi * k * phase) / k for k in range(1, 15)) * 0.1
    found = track(np.float32(voice_), RATE)
    wanted = hertz[RATE // 200 :: RATE // 100]
    assert len(found) == 100
    assert (found > 0).mean() > 0.95
    assert np.abs(found - wanted)[found > 0].mean() < 1.0
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    assert (track(noise, RATE) > 0).mean() < 0.1
    assert track(np.zeros(0, np.float32), RATE).shape == (0,)


def test_mel_rows_are_centred_on_their_frames() -> None:
    samples = torch.zeros(1, 20 * FRAME)
    samples[0, 7 * FRAME + FRAME // 2] = 1.0
    rows = LogMel()(samples)[0]
    assert rows.shape == (20, MELS)
    energy = rows.sum(1)
    assert int(energy.argmax()) == 7
    torch.testing.assert_close(energy[6], energy[8], rtol=1e-3, atol=1e-3)


def test_losses_of_a_vocoder_tell_louder_and_duller_speech() -> None:
    samples = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    other = torch.randn(1, RATE, generator=torch.Generator().manual_seed(1)) * 0.1
    spectral, mel = SpectralLoss(), MelLoss()
    same, louder = spectral(other, samples), spectral(other * 2, samples)
    assert louder["log"] > same["log"] > 0
    assert spectral(samples, samples)["log"] == 0
    assert mel(other * 2, samples) > mel(other, samples) > mel(samples, samples) == 0


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_vocoder_trains_resumes_and_loads(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adversarial: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the command line: some updates, a checkpoint, more updates from it, a vocoder that speaks."""
    monkeypatch.setattr(vocoder_train, "VocoderConfig", lambda: VOCODER)
    for minutes in ("0.02", "0.03"):
        command = ["vocoder_train", "--pool", str(pool), "--out", str(tmp_path), "--budget-minutes", minutes]
        extra = [
            "--batch",
            "2",
            "--frames",
            "16",
            "--evaluate-minutes",
            "9",
            *(["--adversarial"] if adversarial else []),
        ]
        monkeypatch.setattr(sys, "argv", [*command, *extra])
        vocoder_train.main()
    assert capsys.readouterr().out.count("tune: log ") == 2
    model = load_vocoder(tmp_path / "checkpoint.pt")
    scale = statistics(pool)
    clip = Pool(pool, "tune").clips[0]
    original = torch.from_numpy(Pool(pool, "tune").samples(clip))[None]
    pitch = torch.from_numpy(Pool(pool, "tune").pitch(clip))[None]
    with torch.no_grad():
        samples = vocoder_train.resynthesise(model, LogMel(), original, pitch, scale)
    assert samples.shape == original.shape
    assert torch.isfinite(samples).all()
    assert model.config == VocoderConfig(**vars(VOCODER))


def test_an_acoustic_model_trains_resumes_and_speaks(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(acoustic_train, "FlowConfig", lambda: FLOW)
    monkeypatch.setattr(acoustic_train, "TextConfig", lambda symbols: TextConfig(symbols, 32, 48, 2, 2, 3))
    for minutes in ("0.04", "0.06"):
        command = ["acoustic_train", "--pool", str(pool), "--out", str(tmp_path), "--budget-minutes", minutes]
        monkeypatch.setattr(sys, "argv", [*command, "--batch", "4", "--evaluate-minutes", "9"])
        acoustic_train.main()
    assert capsys.readouterr().out.count("tune: durations ") == 2
    model = voice.load(tmp_path / "checkpoint.pt")
    assert model.flow.estimator.config == FlowConfig(**vars(FLOW))
    symbols = torch.tensor([IDS[symbol] for symbol in to_symbols("ma see.")])
    mel, pitch = model.speak(symbols)
    assert mel.shape[1:] == (pitch.shape[1], MELS)
    assert pitch.shape[2] == HALVES
    assert torch.equal(model.speak(symbols)[0], mel)
    assert not torch.equal(model.speak(symbols, seed=1)[0], mel)


def test_calibration_makes_a_voice_as_lively_as_its_recordings(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the command line; a voice that was widened is as wide as the recordings, and bands are rougher."""
    spoken, vocoder = toy_voice(), toy_vocoder()
    monkeypatch.setattr(calibrate.voice, "load", lambda _: spoken)
    monkeypatch.setattr(calibrate, "load_vocoder", lambda _: vocoder)
    out = tmp_path / "calibration.json"
    monkeypatch.setattr(
        sys, "argv", ["calibrate", "--pool", str(pool), "--acoustic", ".", "--vocoder", ".", "--out", str(out)]
    )
    calibrate.main()
    found = read_calibration(out)
    assert not 0.95 < found.melody.wider < 1.05
    widen(spoken.expander, found.melody)
    after = flatness(spoken, pool)
    assert after.wider == pytest.approx(1, abs=0.03)
    assert after.middle == pytest.approx(found.melody.middle, abs=0.01)
    assert found.deviation[:FIRST_BAND] == [0.0] * FIRST_BAND
    assert 0 <= min(found.deviation) <= max(found.deviation) <= 0.5
    assert len(found.deviation) == MELS
