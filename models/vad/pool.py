"""Clips of 16 kHz audio in one memory-mapped file, and how they are divided among training, tuning and the test."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.common import packs
from models.common.features import HOP
from models.common.stored_audio import AudioWriter, StoredAudio
from models.vad.labels import label_speech

SPEECH_PACKS = (*packs.TRANSCRIBED, "clean_speech")
# Nothing is tuned on the test: not even the threshold.
SPLITS = ("train", "tune", "test")
# The pack of noise has no dev split. Most of it is ESC-10, whose five folds share no recording: the last one is the
# test, and half of the clips of the fourth are for tuning.
_TEST_FOLD, _TUNE_FOLD = "5-", "4-"
# Dev clips that are for tuning; the other dev clips of these packs' speakers are the test.
_TEST_PACKS = ("librispeech_1", "librispeech_2", "clean_speech")


@dataclass(frozen=True)
class Clip:
    """Samples `start` to `start + length` of the file."""

    kind: str
    split: str
    source: str
    start: int
    length: int


def split_of(utterance: packs.Utterance) -> str | None:
    """Say what a clip is for; None if for nothing, as dev voices that also occur in training."""
    if utterance.pack == packs.NOISE:
        return _noise_split(utterance.source.rsplit("/", 1)[-1])
    if utterance.split == "train":
        return "train"
    if utterance.pack not in _TEST_PACKS:
        return "tune"
    return "test"


def _noise_split(file: str) -> str:
    if not file.endswith(".ogg"):
        return "train"
    if file.startswith(_TEST_FOLD):
        return "test"
    return "tune" if file.startswith(_TUNE_FOLD) and zlib.crc32(file.encode()) % 2 else "train"


def _category(source: str) -> str:
    """The folder of a noise clip says what it is: `001 - Dog bark`, `_silence_`."""
    return source.split("/")[-2].split(" - ")[-1].strip("_").lower()


def write_pool(data: Path, folder: Path, names: Iterable[str] = (*SPEECH_PACKS, packs.NOISE)) -> None:
    """Decode the packs to `folder/samples.i16`, label their speech to `folder/labels.u8` and list them."""
    clips = []
    with AudioWriter(folder) as audio, (folder / "labels.u8").open("wb") as labels:
        for name in names:
            for utterance, samples, rate in packs.read_pack(data / f"{name}.tar"):
                split, samples = split_of(utterance), packs.resample(samples, rate)
                # Whole rows, so that labels and samples keep in step.
                samples = samples[: len(samples) // HOP * HOP]
                if split is None or not len(samples):
                    continue
                is_noise = name == packs.NOISE
                start = audio.append(samples)
                rows = np.zeros(len(samples) // HOP, bool) if is_noise else label_speech(samples)
                labels.write(rows.astype(np.uint8).tobytes())
                source = _category(utterance.source) if is_noise else f"{name}:{utterance.speaker}"
                clips.append(Clip("noise" if is_noise else "speech", split, source, start, len(samples)))
            print(f"wrote {name}", flush=True)
    (folder / "clips.json").write_text(json.dumps([asdict(clip) for clip in clips]))


class Pool:
    """The clips of one split."""

    def __init__(self, folder: Path, split: str) -> None:
        self._audio = StoredAudio(folder)
        self._labels = np.memmap(folder / "labels.u8", np.uint8, "r")
        clips = [Clip(**clip) for clip in json.loads((folder / "clips.json").read_text())]
        self.speech = [clip for clip in clips if clip.kind == "speech" and clip.split == split]
        self.noise = [clip for clip in clips if clip.kind == "noise" and clip.split == split]

    def load(self, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
        """Return samples f32[n] and labels bool[n // 160]."""
        rows = slice(clip.start // HOP, (clip.start + clip.length) // HOP)
        return self._audio.read(clip.start, clip.length), self._labels[rows].astype(bool)
