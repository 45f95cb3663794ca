"""Text, shards, packs and augmentation: what training data goes through."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import io  # noqa: E402
import json  # noqa: E402
import tarfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

from models.common import text  # noqa: E402
from models.common.augment import Augmentation, augment, reverberate  # noqa: E402
from models.common.packs import read_pack, resample  # noqa: E402
from models.common.shards import Entry, ShardWriter, read_shards  # noqa: E402
from models.transducer.data import Batches, collate  # noqa: E402
from tests.models.toy_text import toy_pieces  # noqa: E402


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Not at this particular case, Tom.", "not at this particular case tom"),
        ("DON'T -- 'quoted' well-known", "don't quoted well known"),
        ("It\u2019s Mr. Caf\u00e9", "it's mister cafe"),
        ("in 1890", ""),
        ("...", ""),
    ],
)
def test_normalised_text_is_letters_and_apostrophes(given: str, expected: str) -> None:
    """Case, punctuation and accents go; text with digits, whose reading is unknown, is refused."""
    assert text.normalise(given) == expected


def test_about_one_sentence_in_fifty_is_held_out() -> None:
    """The slice depends on the sentence alone."""
    held = [text.held_out(f"sentence number {i}") for i in range(5000)]
    assert 60 < sum(held) < 140
    assert held == [text.held_out(f"sentence number {i}") for i in range(5000)]


def test_spelling_keeps_blank_free() -> None:
    """Letters start at 1: 0 is the blank of CTC."""
    assert text.spell("az' ") == [1, 26, 27, 28]


def test_pieces_round_trip_and_write_tokens(tmp_path: Path) -> None:
    """Text survives encoding, blanks vanish, and tokens.txt has one piece and id a line."""
    pieces = toy_pieces(tmp_path)
    ids = pieces.encode("the lazy dog")
    assert pieces.decode([0, *ids, 0]) == "the lazy dog"
    pieces.write_tokens(tmp_path / "tokens.txt")
    lines = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(pieces) == 32
    assert lines[:2] == ["<blk> 0", "<unk> 1"]


def entry(text: str = "the dog", kind: str = "real", split: str = "train") -> Entry:
    return Entry(text, kind, split, "toy", "someone")


def rows(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-5, 2, (frames, 80)).astype(np.float32)


def test_shards_return_what_was_written(tmp_path: Path) -> None:
    """Rows come back to float16 precision, over several shards, in order."""
    writer = ShardWriter(tmp_path, "toy", limit=50)
    for i in range(5):
        writer.add(entry(str(i)), rows(20, i))
    writer.flush()
    clips = read_shards(sorted(tmp_path.glob("*.jsonl")))
    assert [clip.entry.text for clip in clips] == list("01234")
    np.testing.assert_allclose(clips[4].load(), rows(20, 4), atol=0.01)
    assert not list(tmp_path.glob("*.partial"))


def test_pack_yields_the_split_asked_for(tmp_path: Path) -> None:
    """A pack is a tar with a manifest first; samples come back as float32 with their rate."""
    lines = [
        {"audio": f"{split}.wav", "text": "HI", "speaker": None, "split": split, "duration_s": 0.1}
        for split in ("train", "dev")
    ]
    with tarfile.open(tmp_path / "toy.tar", "w") as tar:
        _add(tar, "manifest.jsonl", "\n".join(json.dumps(line) for line in lines).encode())
        for line in lines:
            buffer = io.BytesIO()
            soundfile.write(buffer, np.full(800, 0.25, np.float32), 8000, format="WAV")
            _add(tar, line["audio"], buffer.getvalue())
    [(utterance, samples, rate)] = read_pack(tmp_path / "toy.tar", "dev")
    assert (utterance.pack, utterance.split, utterance.speaker, rate) == ("toy", "dev", "", 8000)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, 0.25, atol=1e-4)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(("speed", "expected"), [(1.0, 32_000), (0.8, 40_000), (1.25, 25_600)])
def test_speed_changes_the_length(speed: float, expected: int) -> None:
    """Two seconds at 8 kHz become two seconds at 16 kHz, divided by the speed."""
    assert abs(len(resample(np.zeros(16_000, np.float32), 8000, speed)) - expected) <= 1


def test_without_any_change_augmentation_is_the_identity() -> None:
    """With every strength at zero, rows come back as they were."""
    still = Augmentation(gain=(0, 0), noise_share=0, babble_share=0, reverberation_share=0, time_masks=0, mel_masks=0)
    given = rows(40)
    np.testing.assert_allclose(augment(given, None, still, np.random.default_rng(0)), given, atol=1e-3)


def test_noise_is_mixed_at_the_ratio_drawn() -> None:
    """The power added is the speech's mean power divided by the drawn ratio, looped to its length."""
    settings = Augmentation(gain=(0, 0), snr=(2, 2), reverberation_share=0, time_masks=0, mel_masks=0)
    speech, noise = rows(40), rows(7, 1)
    mixed = augment(speech, noise, settings, np.random.default_rng(0))
    added = np.exp(mixed.astype(np.float64)).mean() - np.exp(speech.astype(np.float64)).mean()
    assert 0.5 < added / (np.exp(speech).mean() * np.exp(-2)) < 2


def test_reverberation_only_smears_forward() -> None:
    """An impulse keeps its past silent and leaves a falling tail."""
    power = np.zeros((10, 1), np.float32)
    power[3] = 1
    wet = reverberate(power, 0.5, 0.1)[:, 0]
    np.testing.assert_allclose(wet[:6], [0, 0, 0, 1, 0.05, 0.025], atol=1e-6)


def test_a_batch_pads_with_silence() -> None:
    """Rows beyond an utterance are the log-mel of digital silence; two frames of them are valid."""
    batch = collate([rows(20), rows(9)], [[3], [4, 5, 6, 7, 8]], [[1], [2, 3]])
    assert batch.log_mel.shape == (2, 40, 80)
    assert batch.frames.tolist() == [5, 4]
    assert batch.labels.shape == (2, 8)
    assert batch.letters.tolist() == [1, 2, 3]
    np.testing.assert_allclose(batch.log_mel[1, 9:], np.log(2.0**-23), rtol=1e-6)


def test_batches_never_hold_dev_speech(tmp_path: Path) -> None:
    """Only training clips are drawn, and about two fifths of the seconds are synthetic."""
    pieces = toy_pieces(tmp_path)
    writer = ShardWriter(tmp_path, "toy")
    for i in range(20):
        writer.add(entry("the dog", ("real", "synthetic")[i % 2]), rows(200, i))
        writer.add(entry("my jugs", split="dev"), rows(200, i))
    writer.flush()
    batches = iter(Batches(tmp_path, pieces, lambda: 0.5, seconds=8.0))
    for _ in range(20):
        batch = next(batches)
        assert {tuple(row[:n]) for row, n in zip(batch.labels.tolist(), batch.lengths, strict=True)} == {
            tuple(pieces.encode("the dog"))
        }
        assert batch.log_mel.shape[1] % 32 == 0


def test_no_speech_is_an_error(tmp_path: Path) -> None:
    """An empty folder is refused at the first batch."""
    with pytest.raises(ValueError, match="expected shards of real training speech in"):
        next(iter(Batches(tmp_path, toy_pieces(tmp_path), lambda: 0.0)))
